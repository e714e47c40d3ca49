"""CPUs that may be used: those of the process, within the container's quota."""

import os
from pathlib import Path

import pytest

from corpusmill.pipeline import cpus


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("400000 100000\n", 4),
        ("50000 100000\n", 1),
        ("9900000 100000\n", 16),
        ("max 100000\n", 16),
        ("", 16),
        (None, 16),
    ],
)
def test_a_quota_bounds_what_the_process_may_run_on(
    quota: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a CPU are left out, but for the first; no quota, or none that can be read, is no bound."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(cpus, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert cpus.usable_cpus() == expected
