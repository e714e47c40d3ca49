"""Where a cluster's workers look for modules."""

import os
from pathlib import Path

import pytest

from corpusmill.pipeline.engine.cluster import working_folder


def test_workers_that_start_elsewhere_find_what_a_relative_path_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries of PYTHONPATH are made absolute, but for an empty one, which means wherever one is."""
    monkeypatch.setenv("PYTHONPATH", f"mine{os.pathsep}{os.pathsep}/there")
    here = Path.cwd()
    with working_folder(str(tmp_path)):
        assert Path.cwd() == tmp_path
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(here / "mine"), "", "/there"]
    assert Path.cwd() == here
