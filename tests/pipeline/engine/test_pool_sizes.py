"""Pools of other sizes do the units in another order, and write the same bytes."""

from pathlib import Path
from typing import Any

import pytest

from corpusmill.jobs import JobConfig, run

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.mark.exhaustive
def test_pools_of_any_size_write_the_same_bytes(job: dict[str, Any], tmp_path: Path) -> None:
    """One worker a model against three and two, each of one thread."""
    written = []
    for number, sizes in enumerate(((1, 1), (3, 2))):
        for model, size in zip(job["models"], sizes, strict=True):
            model["pool"] = {"min_workers": size, "max_workers": size, "cpus": 1}
        job["output"] = {"path": str(tmp_path / f"out{number}")}
        result = run(JobConfig.from_dict(job))
        assert result.workers_peak == sum(sizes)
        written.append({p.name: p.read_bytes() for p in (tmp_path / f"out{number}" / "data").iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) == 15
