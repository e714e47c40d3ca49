"""The Ray executor: the same bytes as inline, whatever dies on the way."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.resolve.job import resolve
from corpusmill.jobs.verify.verify import verify
from corpusmill.pipeline.engine.ray_engine import RayEngine
from corpusmill.pipeline.errors import JobFailed

pytestmark = pytest.mark.usefixtures("ray_cluster")


def data_files(job: dict[str, Any]) -> dict[str, bytes]:
    """The committed files of a job's output."""
    return {path.name: path.read_bytes() for path in (Path(job["output"]["path"]) / "data").iterdir()}


@contextlib.contextmanager
def when_running(monkeypatch: pytest.MonkeyPatch, action: Any) -> Iterator[list[int]]:
    """Call `action(pids)` once every pool has a worker and something was encoded; collect what it returns."""
    done: list[int] = []
    original = RayEngine.state

    def state(engine: RayEngine) -> Any:
        found = original(engine)
        if not done and found.encoded_tokens and all(pool.pids for pool in found.pools):
            done.append(action([pid for pool in found.pools for pid in pool.pids]))
        return found

    monkeypatch.setattr(RayEngine, "state", state)
    yield done


@pytest.mark.slow
def test_ray_and_inline_give_the_same_bytes(job: dict[str, Any], undisturbed: dict[str, bytes]) -> None:
    """Two pools, three files, rejects and nulls: every data file equals that of the inline executor."""
    result = run(JobConfig.from_dict(job))
    assert (result.rows, result.rejected, result.units, result.skipped_units) == (597, 3, 15, 0)
    assert data_files(job) == undisturbed
    assert result.workers_peak >= 2
    assert verify(job["output"]["path"]).ok


def test_every_row_is_there_once_and_in_order(job: dict[str, Any]) -> None:
    """Ids of the output and of the rejects are the input's, each once; units keep the input's order."""
    run(JobConfig.from_dict(job))
    out = Path(job["output"]["path"])
    ids = pa.dataset.dataset(out / "data", format="ipc").to_table()["id"].to_pylist()
    assert sorted(ids) == sorted(set(range(600)) - {20, 220, 420})
    for path in (out / "data").iterdir():
        unit = pa.ipc.open_file(path).read_all()["id"].to_pylist()
        assert unit == sorted(unit)


@pytest.mark.slow
def test_a_second_run_does_only_what_is_missing(job: dict[str, Any], undisturbed: dict[str, bytes]) -> None:
    """Three of the files removed: they come back with the same bytes, the others are not written again."""
    run(JobConfig.from_dict(job))
    files = sorted((Path(job["output"]["path"]) / "data").iterdir())
    for path in files[::5]:
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in files if path.exists()}
    result = run(JobConfig.from_dict(job))
    assert result.skipped_units == len(before) == 12
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert data_files(job) == undisturbed


@pytest.mark.slow
def test_all_encoders_killed_at_once_cost_nothing(
    job: dict[str, Any], undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL of every encoder in mid-job: its units go back to the queue, the bytes are the same."""
    job["input"]["rows_per_unit"] = 40

    def kill(pids: list[int]) -> int:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    with when_running(monkeypatch, kill) as killed:
        run(JobConfig.from_dict(job))
    assert killed == [2]
    assert data_files(job) == undisturbed


@pytest.mark.slow
def test_an_input_that_changes_under_the_job_fails_its_units_alone(
    job: dict[str, Any], tmp_path: Path, corpus: Path
) -> None:
    """A file rewritten between plan and read: a clear error, and the other files are committed."""
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    job["input"]["path"] = str(copy)
    config = JobConfig.from_dict(job)
    planned = resolve(config)
    victim = copy / "part-1.jsonl"
    victim.write_text(victim.read_text(encoding="utf-8") + '{"id": 1000, "body": "late"}\n', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["corpusmill.jobs.driver.runner"], "resolve", lambda *_, **__: planned)
        with pytest.raises(JobFailed, match=r"part-1\.jsonl: expected the file that was planned"):
            run(config)
    committed = (
        pa.dataset.dataset(Path(job["output"]["path"]) / "data", format="ipc").to_table()["id"].to_pylist()
    )
    assert sorted(committed) == [i for i in range(600) if not 200 <= i < 400 and i not in (20, 420)]
    assert not (Path(job["output"]["path"]) / "_manifest.parquet").exists()


def test_a_bad_row_fails_the_job_where_it_is_told_to(job: dict[str, Any]) -> None:
    """`on_bad_row: fail` names file, row and reason."""
    job["input"]["on_bad_row"] = "fail"
    with pytest.raises(JobFailed, match=r"part-\d\.jsonl: row 20: not JSON"):
        run(JobConfig.from_dict(job))
