"""Rows that crash, hang or fail their worker: refused with the reason, and every other row is kept."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest
from support.poison import starter

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.resolve import workers
from corpusmill.jobs.verify.verify import verify
from corpusmill.pipeline.engine import ray_engine
from corpusmill.pipeline.engine.faults import HangTimeout
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import PoolSpec

pytestmark = pytest.mark.usefixtures("ray_cluster")
ROWS = 90


@pytest.fixture
def poisoned(job: dict[str, Any], tmp_path: Path) -> Any:
    """Write a corpus of ROWS rows in units of 45, some with a poison word; returns its job."""

    def write(words: dict[int, str]) -> dict[str, Any]:
        rows = [{"id": i, "body": f"the water of page {i} {words.get(i, 'and')} more"} for i in range(ROWS)]
        lines = [json.dumps(row) for row in rows]
        lines[3] = '{"id": broken'
        path = tmp_path / "poisoned.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        job["input"] |= {"path": str(path), "rows_per_unit": 45}
        return job

    return write


def rejects(job: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The rejects of a job by row, but for the line that is no JSON."""
    lines = [
        json.loads(line)
        for path in (Path(job["output"]["path"]) / "rejects").iterdir()
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return {line["row"]: line for line in lines if line["row"] != 3}


def check_the_others(job: dict[str, Any], result: Any, refused: set[int]) -> pa.Table:
    """Every row is there once, as a row of all models or as a reject; returns the rows."""
    assert (result.rows, result.rejected) == (ROWS - 1 - len(refused), 1 + len(refused))
    table = pa.dataset.dataset(Path(job["output"]["path"]) / "data", format="ipc").to_table()
    assert table["id"].to_pylist() == [i for i in range(ROWS) if i not in refused | {3}]
    assert table["e_embedding"].null_count == table["c_label"].null_count == 0
    assert verify(job["output"]["path"]).ok
    return table


def events(job: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The events of one kind."""
    path = Path(job["output"]["path"]) / "_job" / "events.jsonl"
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in found if event["event"] == kind]


@pytest.mark.slow
def test_a_row_that_crashes_its_worker_is_refused_alone(
    poisoned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSEGV in one model's worker: that row is a reject, the other model's result of it is dropped too."""
    job = poisoned({17: "horse"})
    monkeypatch.setattr(ray_engine, "start_encoder", starter("e"))
    result = run(JobConfig.from_dict(job))
    check_the_others(job, result, {17})
    found = rejects(job)
    assert list(found) == [17]
    assert found[17]["reason"] == "ended its worker 2 times, encoded alone"
    assert json.loads(found[17]["raw"]) == {"id": 17}
    lost = events(job, "worker_lost")
    assert Counter(event["model"] for event in lost).keys() == {"e"}
    assert len(lost) <= 7


@pytest.mark.slow
def test_rows_that_fail_or_do_not_fit_in_memory_are_refused_without_a_death(
    poisoned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory halves the batch; what fails alone is a reject, what fits alone is a row."""
    job = poisoned({1: "tree", 20: "river", 40: "school", 80: "river"})
    job["input"]["keep"] = ["id", "body"]
    monkeypatch.setattr(ray_engine, "start_encoder", starter())
    result = run(JobConfig.from_dict(job))
    check_the_others(job, result, {1, 40})
    found = rejects(job)
    assert found[1]["reason"] == ("the model cannot take this row (IndexError: index out of range in self)")
    assert found[40]["reason"] == "not enough memory for this row, even alone"
    assert json.loads(found[40]["raw"]) == {"id": 40, "body": "the water of page 40 school more"}
    assert events(job, "worker_lost") == []


@pytest.mark.exhaustive
def test_a_row_that_hangs_its_worker_is_refused_alone(poisoned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not answer is killed and replaced until the row is found."""
    job = poisoned({44: "mountain"})
    monkeypatch.setattr(ray_engine, "start_encoder", starter("c"))
    monkeypatch.setattr(ray_engine, "HANG_TIMEOUT", HangTimeout(floor=2.0))
    result = run(JobConfig.from_dict(job))
    check_the_others(job, result, {44})
    assert rejects(job)[44]["reason"] == "took longer than 2 seconds, encoded alone"
    assert {event["reason"] for event in events(job, "worker_lost")} == {"took longer than 2 seconds"}


@pytest.mark.exhaustive
@pytest.mark.parametrize("word", [pytest.param("horse", marks=pytest.mark.exhaustive), "mountain"])
def test_a_worker_at_two_units_at_once_costs_the_one_beside_nothing(
    poisoned: Any, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """As on a GPU: trying each of the two alone finds the one that crashes or hangs."""
    job = poisoned({20: word})
    job["input"]["rows_per_unit"] = 15
    job["models"][0]["pool"] = {"max_workers": 1}
    monkeypatch.setattr(workers, "PoolSpec", partial(PoolSpec, at_once=2))
    monkeypatch.setattr(ray_engine, "start_encoder", starter("e"))
    monkeypatch.setattr(ray_engine, "HANG_TIMEOUT", HangTimeout(floor=2.0))
    result = run(JobConfig.from_dict(job))
    check_the_others(job, result, {20})
    assert rejects(job)[20]["reason"].endswith(", encoded alone")


@pytest.mark.exhaustive
def test_every_kind_of_poison_at_once(poisoned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """First row, last row, neighbours, both units, both models: exactly these are refused."""
    words = {0: "horse", 1: "fish", 30: "tree", 44: "mountain", 45: "fish", 60: "school", 89: "horse"}
    job = poisoned(words)
    monkeypatch.setattr(ray_engine, "start_encoder", starter())
    monkeypatch.setattr(ray_engine, "HANG_TIMEOUT", HangTimeout(floor=3.0))
    result = run(JobConfig.from_dict(job))
    check_the_others(job, result, set(words))
    assert set(rejects(job)) == set(words)


@pytest.mark.exhaustive
def test_a_unit_of_nothing_but_poison(poisoned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows that all crash: a file with columns and no rows, and three rejects."""
    job = poisoned(dict.fromkeys(range(ROWS - 3, ROWS), "fish"))
    job["input"]["rows_per_unit"] = 87
    monkeypatch.setattr(ray_engine, "start_encoder", starter("e"))
    result = run(JobConfig.from_dict(job))
    check_the_others(job, result, {87, 88, 89})
    assert result.units == 2


@pytest.mark.exhaustive
def test_a_crash_fails_the_unit_where_bad_rows_are_failures(
    poisoned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`on_bad_row: fail` names file, row and reason; the other unit is committed."""
    job = poisoned({50: "fish"})
    path = Path(job["input"]["path"])
    path.write_text(path.read_text(encoding="utf-8").replace("broken", "3}"), encoding="utf-8")
    job["input"]["on_bad_row"] = "fail"
    monkeypatch.setattr(ray_engine, "start_encoder", starter("e"))
    with pytest.raises(JobFailed, match=r"poisoned\.jsonl: row 50: ended its worker 2 times"):
        run(JobConfig.from_dict(job))
    assert len(list((Path(job["output"]["path"]) / "data").iterdir())) == 1


@pytest.mark.exhaustive
def test_a_model_that_crashes_on_everything_ends_the_job(
    poisoned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarts are limited: the job fails instead of starting workers for ever."""
    job = poisoned(dict.fromkeys(range(ROWS), "fish"))
    monkeypatch.setattr(ray_engine, "start_encoder", starter("e"))
    with pytest.raises(JobFailed, match="20 workers in a row died and none finished anything"):
        run(JobConfig.from_dict(job))
