"""A plan says what a run would do, and writes nothing."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
import zstandard
from workshop import Workshop, contents, texts

from corpusmill.pipeline.machine import usable_cpus
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

KEYS = {"files", "units", "rows", "tokens", "seconds"}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def tokens_of(workshop: Workshop, count: int) -> int:
    """Tokens of the usual texts, counted one by one."""
    tokenizer = load_tokenizer(str(workshop.embedder))
    return sum(len(tokenizer.encode(text).ids) for text in texts(count))


def planned(workshop: Workshop, **changes: object) -> dict[str, object]:
    result = workshop.cli("plan", workshop.job(**changes), "--json")
    assert result.exit_code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    found: dict[str, object] = json.loads(line)
    assert set(found) >= KEYS
    return found


@pytest.mark.parametrize("suffix", PACKERS)
def test_lines_are_counted_exactly(workshop: Workshop, suffix: str) -> None:
    """Plain and compressed: files, units, rows and tokens as a run then reports them."""
    path = workshop.numbered(30, "rows.jsonl")
    (workshop.folder / "in").mkdir()
    (workshop.folder / "in" / f"a.jsonl{suffix}").write_bytes(PACKERS[suffix](path.read_bytes()))
    found = planned(workshop)
    assert (found["files"], found["units"], found["rows"], found["tokens"]) == (
        1,
        4,
        30,
        tokens_of(workshop, 30),
    )
    assert found["rows_exact"] is True
    result = workshop.run()
    assert (result.units, result.rows, result.tokens) == (found["units"], found["rows"], found["tokens"])


def test_parquet_is_counted_from_its_footers(workshop: Workshop) -> None:
    """A unit never spans row groups."""
    workshop.table({"id": list(range(30)), "text": texts(30)}, row_group_size=10)
    workshop.table({"id": [1], "text": ["a"]}, "in/b.parquet")
    found = planned(workshop)
    assert (found["files"], found["units"], found["rows"]) == (2, 7, 31)
    assert workshop.run().units == 7


def test_rejected_rows_and_nulls_bring_no_tokens(workshop: Workshop) -> None:
    """Rows are input rows; the tokens are those that a run will count."""
    rows = [{"id": i, "text": text} for i, text in enumerate(texts(20))]
    workshop.lines([*map(json.dumps, rows), "{", "{", '{"id": 1, "text": null}', '{"id": 2, "text": 5}'])
    found = planned(workshop)
    assert (found["rows"], found["tokens"]) == (24, tokens_of(workshop, 20))
    assert workshop.run().tokens == found["tokens"]


def test_bad_rows_do_not_stop_a_plan_of_a_job_that_would_fail_on_them(workshop: Workshop) -> None:
    """The plan samples; only the run refuses."""
    workshop.lines(['{"id": 1, "text": "a"}', "{"])
    assert planned(workshop, input__on_bad_row="fail")["rows"] == 2


def test_two_models_are_planned_with_their_tokens_and_workers(workshop: Workshop) -> None:
    """Tokens add up over the models; the slowest model makes the time, if the cores allow it."""
    workshop.numbered(20)
    models = [
        {"checkpoint": str(workshop.embedder), "name": "a"},
        {"checkpoint": str(workshop.classifier), "name": "b"},
    ]
    found = planned(workshop, models=models)
    assert found["tokens"] == workshop.run(models=models).tokens
    parts = found["models"]
    assert isinstance(parts, list)
    assert [part["model"] for part in parts] == ["a", "b"]
    assert found["tokens"] == sum(part["tokens"] for part in parts)
    slowest = max(part["seconds"] for part in parts)
    assert isinstance(found["seconds"], float)
    assert isinstance(found["startup_seconds"], float)
    assert found["seconds"] >= slowest + found["startup_seconds"] > 0
    assert all(part["workers"] >= 1 and part["tokens_per_second"] > 0 for part in parts)


def test_the_histogram_counts_the_sampled_rows(workshop: Workshop) -> None:
    """Cut texts count with the length they are cut to."""
    workshop.rows([{"id": 0, "text": "a"}, {"id": 1, "text": "the " * 20}, {"id": 2, "text": "the " * 500}])
    found = planned(workshop)
    assert found["sampled_rows"] == 3
    assert found["length_histogram"] == {"<=8": 1, "<=32": 1, "<=64": 1}


def test_a_plan_writes_nothing(workshop: Workshop) -> None:
    """Neither for a new job nor beside a finished output."""
    workshop.numbered(10)
    job = workshop.job()
    before = contents(workshop.folder)
    assert workshop.cli("plan", job).exit_code == 0
    assert contents(workshop.folder) == before
    workshop.run()
    before = contents(workshop.folder)
    assert workshop.cli("plan", job).exit_code == 0
    assert contents(workshop.folder) == before


def test_an_empty_input_is_planned_as_nothing(workshop: Workshop) -> None:
    """No rows, no time; a run finishes at once."""
    path = workshop.table({"id": [1], "text": ["a"]})
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    found = planned(workshop)
    assert (found["files"], found["units"], found["rows"], found["tokens"], found["seconds"]) == (
        1,
        0,
        0,
        0,
        0.0,
    )
    result = workshop.run()
    assert (result.rows, result.units) == (0, 0)
    assert workshop.cli("verify", workshop.output).exit_code == 0


def test_a_rate_and_a_price_give_time_and_cost(workshop: Workshop) -> None:
    """By model, or one rate for all others; hours are those of all workers."""
    workshop.numbered(30)
    models = [
        {"checkpoint": str(workshop.embedder), "name": "e", "pool": {"min_workers": 2, "max_workers": 2}},
        {"checkpoint": str(workshop.classifier), "name": "c", "pool": {"max_workers": 1}},
    ]
    job = workshop.job(models=models)
    options = ("--rate", "100", "--rate", "c=50", "--price", "3.6", "--json")
    found = json.loads(workshop.cli("plan", job, *options).stdout)
    tokens = tokens_of(workshop, 30)
    first, second = found["models"]
    assert (first["tokens_per_second"], second["tokens_per_second"]) == (200, 50)
    assert (first["tokens"], second["tokens"]) == (tokens, tokens)
    cores = (2 * tokens / 200 + tokens / 50) / usable_cpus()
    assert found["seconds"] - found["startup_seconds"] == pytest.approx(max(tokens / 50, cores), abs=0.2)
    hours = (2 * tokens / 200 + tokens / 50) / 3600
    assert found["worker_hours"] == pytest.approx(hours, abs=1e-4)
    assert found["cost"] == pytest.approx(found["worker_hours"] * 3.6, abs=1e-3)
    assert "costs" in workshop.cli("plan", job, "--rate", "100", "--price", "3.6").stdout
    assert json.loads(workshop.cli("plan", job, "--rate", "100", "--json").stdout)["cost"] is None


@pytest.mark.parametrize("rate", ["fast", "0", "-1", "e=", "inf", "nobody=10"])
def test_a_rate_that_is_none_is_a_usage_error(workshop: Workshop, rate: str) -> None:
    """Also of a model that the job does not have."""
    workshop.numbered(3)
    result = workshop.cli("plan", workshop.job(), "--rate", rate)
    assert result.exit_code == 2
    assert "--rate" in result.stderr


@pytest.mark.parametrize("output_format", ["arrow", "parquet"])
def test_the_size_of_the_output_is_near(workshop: Workshop, output_format: str) -> None:
    """Within a fifth of the data files that a run then writes."""
    workshop.table({"id": list(range(4000)), "text": texts(4000)})
    changes = {"input__rows_per_unit": 1000, "output__format": output_format}
    found = planned(workshop, **changes)
    workshop.run(**changes)
    written = sum(path.stat().st_size for path in (workshop.output / "data").iterdir())
    assert found["output_bytes"] == pytest.approx(written, rel=0.2)


def test_a_pool_has_the_workers_that_its_queue_asks_for(workshop: Workshop) -> None:
    """As many as do its work in the drain time, from its least to its most."""
    workshop.numbered(30)
    tokens = tokens_of(workshop, 30)
    for drain, pool, workers in (
        (tokens, {"max_workers": 8}, 1),
        (tokens / 2.5, {"max_workers": 8}, 3),
        (tokens / 2.5, {"max_workers": 2}, 2),
        (tokens, {"min_workers": 4, "max_workers": 8}, 4),
    ):
        models = [{"checkpoint": str(workshop.embedder), "pool": pool}]
        job = workshop.job(models=models, autoscaling={"target_drain_seconds": drain})
        (found,) = json.loads(workshop.cli("plan", job, "--rate", "1", "--json").stdout)["models"]
        assert (found["workers"], found["tokens_per_second"]) == (workers, workers)


def test_without_a_drain_time_a_plan_counts_the_workers_that_shorten_the_job(workshop: Workshop) -> None:
    """By the rule of a run on this machine: no start is worth less work than itself."""
    workshop.numbered(30)
    tokens = tokens_of(workshop, 30)
    for seconds, workers in ((15, 1), (10_000, usable_cpus())):
        job = workshop.job(models=[{"checkpoint": str(workshop.embedder)}], input__rows_per_unit=1)
        found = json.loads(workshop.cli("plan", job, "--rate", str(tokens / seconds), "--json").stdout)
        assert found["models"][0]["workers"] == workers
        assert found["models"][0]["seconds"] == pytest.approx(seconds / workers, rel=0.01)


def test_rows_are_sampled_all_over_a_file(workshop: Workshop) -> None:
    """A file whose short texts come first is not taken for one of short texts."""
    short, long = "the", "the the the the the the the the the the the"
    workshop.table({"id": list(range(8_000)), "text": [short] * 4_000 + [long] * 4_000})
    found = planned(workshop, input__deduplicate=False)
    assert found["sampled_rows"] == 8 * 256
    assert found["tokens"] == pytest.approx(8_000 * (3 + 13) / 2, rel=0.15)


def test_more_workers_than_cores_take_the_time_of_the_cores(workshop: Workshop) -> None:
    """Two pools of many workers are not faster than the machine."""
    workshop.numbered(30)
    pool = {"max_workers": 64}
    models = [
        {"checkpoint": str(workshop.embedder), "name": "e", "pool": pool},
        {"checkpoint": str(workshop.classifier), "name": "c", "pool": pool},
    ]
    found = planned_at(workshop, 10, models=models)
    work = 2 * tokens_of(workshop, 30) / 10 / usable_cpus()
    assert found["seconds"] - found["startup_seconds"] == pytest.approx(work, rel=0.02)


def planned_at(workshop: Workshop, rate: int, **changes: object) -> dict[str, float]:
    result = workshop.cli("plan", workshop.job(**changes), "--rate", rate, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, float] = json.loads(result.stdout)
    return found
