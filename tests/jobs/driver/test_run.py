"""A whole run: every row once, kept columns as they were, two models in one pass, rows as if alone."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop, read_file, read_output, texts

from corpusmill.models import PackedTokens, load_model
from corpusmill.models.cpu.int8 import has_int8_products
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

KEYS = {
    "output",
    "rows",
    "rejected",
    "tokens",
    "seconds",
    "units",
    "skipped_units",
    "workers_peak",
    "padding_share",
}


def two(workshop: Workshop) -> list[dict[str, Any]]:
    """An embedder and a classifier."""
    return [
        {"checkpoint": str(workshop.embedder), "name": "vec"},
        {"checkpoint": str(workshop.classifier), "name": "mood"},
    ]


def test_every_input_row_is_an_output_row_or_a_reject(workshop: Workshop) -> None:
    """Over several files of several formats, with nulls and bad rows; the counts agree everywhere."""
    workshop.lines(
        [json.dumps({"id": i, "text": None if i % 5 == 0 else f"a {i}"}) if i % 7 else "{" for i in range(50)]
    )
    workshop.table({"id": list(range(100, 130)), "text": texts(30)}, row_group_size=11)
    zipped = workshop.numbered(20, "in/z.jsonl", start=200)
    zipped.with_suffix(".jsonl.gz").write_bytes(gzip.compress(zipped.read_bytes()))
    zipped.unlink()

    result = workshop.run()
    bad = [i for i in range(50) if i % 7 == 0]
    assert (result.rows, result.rejected) == (100 - len(bad), len(bad))
    kept = workshop.read()["id"].to_pylist()
    assert kept == [i for i in range(50) if i % 7] + list(range(100, 130)) + list(range(200, 220))
    assert [reject["row"] for reject in workshop.rejects()] == bad

    manifest = pq.read_table(workshop.output / "_manifest.parquet")
    assert sum(manifest["rows"].to_pylist()) == result.rows
    assert sum(manifest["rejected"].to_pylist()) == result.rejected
    assert sum(manifest["tokens"].to_pylist()) == result.tokens
    assert len(manifest) == result.units == len(workshop.data()) == 7 + 5 + 3
    for row in manifest.to_pylist():
        assert row["row_stop"] - row["row_start"] == row["rows"] + row["rejected"]
        assert read_file(workshop.output / row["file"]).num_rows == row["rows"]


def test_kept_columns_come_first_in_order_with_types_unchanged(workshop: Workshop) -> None:
    """Dictionaries, nested values, times, decimals, views and nulls, over several units."""
    count = 20
    columns = {
        "day": pa.array([None if i == 3 else i for i in range(count)], pa.date32()),
        "kind": pa.array([f"k{i % 3}" for i in range(count)]).dictionary_encode(),
        "small": pa.array(range(count), pa.int8()),
        "when": pa.array(range(count), pa.timestamp("us", tz="Europe/Berlin")),
        "price": pa.array([None, *range(1, count)], pa.decimal128(9, 2)),
        "tags": pa.array([[f"t{j}" for j in range(i % 3)] for i in range(count)], pa.list_(pa.string())),
        "by": pa.array([{"name": f"n{i}", "n": [i]} for i in range(count)]),
        "raw": pa.array([bytes([i]) for i in range(count)], pa.large_binary()),
        "text": pa.array(texts(count), pa.large_string()),
    }
    source = pa.table(columns)
    workshop.table(source)
    names = ["tags", "kind", "by", "text", "price", "when", "small", "raw", "day"]
    workshop.run(input__keep=names)
    found = workshop.read()
    assert found.column_names == [*names, "embedding"]
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), 16)
    for name in names:
        assert found.schema.field(name).type == source.schema.field(name).type
        assert found[name].to_pylist() == source[name].to_pylist()


def test_a_star_keeps_every_column(workshop: Workshop) -> None:
    """In the order of the file."""
    workshop.rows([{"b": 1.5, "text": "x", "a": True}])
    workshop.run(input__keep="*")
    assert workshop.read().select(["b", "text", "a"]).to_pylist() == [{"b": 1.5, "text": "x", "a": True}]
    assert workshop.read().column_names == ["b", "text", "a", "embedding"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_text_column_is_read(workshop: Workshop, kind: pa.DataType) -> None:
    """All of them give what plain strings give."""
    plain = [None, *texts(9)]
    workshop.table({"id": list(range(10)), "text": pa.array(plain).cast(kind)})
    workshop.run()
    found = workshop.read()["embedding"].to_pylist()
    workshop.table({"id": list(range(10)), "text": pa.array(plain)}, "plain/a.parquet")
    workshop.run(input__path=str(workshop.folder / "plain"), output__path=str(workshop.folder / "out2"))
    other = [read_file(path) for path in sorted((workshop.folder / "out2" / "data").iterdir())]
    assert found == pa.concat_tables(other)["embedding"].to_pylist()


def alone(checkpoint: Path, task: str, text: str, max_length: int) -> Any:
    """A model's output for one text, tokenized and run by itself."""
    tokenizer = load_tokenizer(str(checkpoint))
    tokenizer.enable_truncation(max_length)
    ids = tokenizer.encode(text).ids
    tokenizer.no_truncation()
    return load_model(checkpoint, task=task)(PackedTokens.from_sequences([ids]))


def test_two_models_in_one_pass_give_each_text_what_it_gets_alone(workshop: Workshop) -> None:
    """Embeddings, labels and scores, also of cut and of empty texts; columns carry the models' names."""
    rows = [*texts(30), "", "night " * 500]
    workshop.rows([{"id": i, "text": text} for i, text in enumerate(rows)])
    result = workshop.run(models=two(workshop))
    table = workshop.read()
    assert table.column_names == ["id", "vec_embedding", "mood_label", "mood_score"]
    assert table.schema.field("mood_label").type == pa.dictionary(pa.int32(), pa.string())
    assert result.workers_peak == 2
    tokens = 0
    for row, text in zip(table.to_pylist(), rows, strict=True):
        vector = alone(workshop.embedder, "embedding", text, 64).embeddings[0]
        np.testing.assert_allclose(row["vec_embedding"], vector, atol=1e-5)
        scores = torch.softmax(
            alone(workshop.classifier, "text-classification", text, 128).logits[0].float(), -1
        )
        assert row["mood_label"] == ("neg", "pos")[int(scores.argmax())]
        assert row["mood_score"] == pytest.approx(float(scores.max()), abs=1e-5)
        tokens += sum(
            min(len(load_tokenizer(str(c)).encode(text).ids), n)
            for c, n in ((workshop.embedder, 64), (workshop.classifier, 128))
        )
    assert result.tokens == tokens


@pytest.mark.skipif(not has_int8_products(), reason="this CPU has no VNNI instructions")
def test_a_job_runs_in_int8(workshop: Workshop) -> None:
    """Asked for by name: near the full numbers, and not the same."""
    wide = write_checkpoint(
        workshop.folder / "wide", "bert", "embedding", width=64, sentence_transformers=True
    )
    workshop.numbered(25)
    workshop.run(models=[{"checkpoint": str(wide)}])
    model = {"checkpoint": str(wide), "dtype": "int8"}
    workshop.run(models=[model], output__path=str(workshop.folder / "int8"))
    full, found = (
        np.array(read_output(folder)["embedding"].to_pylist())
        for folder in (workshop.output, workshop.folder / "int8")
    )
    assert full.shape == found.shape
    assert (full * found).sum(-1).min() > 0.99
    assert not np.array_equal(full, found)


@pytest.mark.parametrize("tokens_per_batch", [1, 30, 100_000])
def test_batches_do_not_change_results(workshop: Workshop, tokens_per_batch: int) -> None:
    """One row a batch or all in one: the same order, the same values to rounding."""
    workshop.numbered(25)
    workshop.run()
    usual = workshop.read()
    workshop.run(models__0__tokens_per_batch=tokens_per_batch, output__path=str(workshop.folder / "other"))
    files = pq.read_table(workshop.folder / "other" / "_manifest.parquet")["file"].to_pylist()
    other = pa.concat_tables([read_file(workshop.folder / "other" / name) for name in files])
    assert other["id"].to_pylist() == usual["id"].to_pylist()
    np.testing.assert_allclose(other["embedding"].to_pylist(), usual["embedding"].to_pylist(), atol=1e-5)


def test_top_k_and_threshold_list_labels_with_scores(workshop: Workshop) -> None:
    """Best first; null text gives null, and a threshold of null is none."""
    workshop.lines(['{"id": 1, "text": "water"}', '{"id": 2, "text": null}'])
    model = {"checkpoint": str(workshop.classifier), "top_k": None, "threshold": None}
    workshop.run(models=[model])
    rows = workshop.read()["labels"].to_pylist()
    assert rows[1] is None
    assert sorted(item["label"] for item in rows[0]) == ["neg", "pos"]
    assert rows[0][0]["score"] >= rows[0][1]["score"]
    assert sum(item["score"] for item in rows[0]) == pytest.approx(1, abs=1e-5)
    workshop.run(models=[model | {"threshold": 1.0}], output__path=str(workshop.folder / "strict"))
    (path,) = (workshop.folder / "strict" / "data").iterdir()
    assert read_file(path)["labels"].to_pylist() == [[], None]


def test_sentence_pairs_are_classified_together(workshop: Workshop) -> None:
    """The second text changes the result; a pair with a null is null."""
    workshop.rows(
        [{"id": i, "text": "water", "title": title} for i, title in enumerate(["night", "a book", None])]
    )
    workshop.run(models=[{"checkpoint": str(workshop.classifier)}], input__text_pair="title")
    scores = workshop.read()["score"].to_pylist()
    assert scores[2] is None
    assert scores[0] != scores[1]


@pytest.mark.parametrize(
    ("output_format", "compression"),
    [("arrow", None), ("arrow", "lz4"), ("parquet", "zstd"), ("parquet", "snappy")],
)
def test_every_output_format_holds_the_same_rows(
    workshop: Workshop, output_format: str, compression: str | None
) -> None:
    """And verifies."""
    workshop.numbered(20)
    workshop.run()
    usual = workshop.read()
    place = workshop.folder / "other"
    workshop.run(output={"path": str(place), "format": output_format, "compression": compression})
    files = pq.read_table(place / "_manifest.parquet")["file"].to_pylist()
    assert {Path(name).suffix for name in files} == {f".{output_format}"}
    found = pa.concat_tables([read_file(place / name) for name in files])
    assert found.to_pylist() == usual.to_pylist()
    assert found.schema == usual.schema
    assert workshop.cli("verify", place).exit_code == 0


def test_results_do_not_depend_on_the_format_of_the_input(workshop: Workshop) -> None:
    """JSON lines and Parquet of the same rows give the same results."""
    workshop.numbered(20, "lines/a.jsonl")
    workshop.table({"id": list(range(20)), "text": texts(20)}, "columns/a.parquet")
    found = []
    for name in ("lines", "columns"):
        workshop.run(
            input__path=str(workshop.folder / name), output__path=str(workshop.folder / "out" / name)
        )
        files = pq.read_table(workshop.folder / "out" / name / "_manifest.parquet")["file"].to_pylist()
        found.append(
            pa.concat_tables([read_file(workshop.folder / "out" / name / file) for file in files]).to_pylist()
        )
    assert found[0] == found[1]


def test_the_result_and_the_records_of_a_run_hold_what_they_promise(workshop: Workshop) -> None:
    """The keys of the contract on standard output, and `_job/` with the job, its events and its counts."""
    workshop.numbered(20)
    result = workshop.cli("run", workshop.job(), "--json")
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert set(found) >= KEYS
    assert (found["rows"], found["rejected"], found["units"], found["skipped_units"]) == (20, 0, 3, 0)
    assert (found["output"], found["padding_share"]) == (str(workshop.output), 0.0)
    job = workshop.output / "_job"
    assert json.loads((job / "stats.json").read_text()) == found
    events = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "finish"]
    assert {"job.yaml", "fingerprint.json", "plan.jsonl"} <= {path.name for path in job.iterdir()}


def test_the_recorded_job_runs_again_as_the_same_job(workshop: Workshop) -> None:
    """`_job/job.yaml` continues the output it lies in, whatever options were given or left out."""
    workshop.numbered(10)
    workshop.run(
        models=[*two(workshop), {"checkpoint": str(workshop.classifier), "name": "all", "top_k": None}]
    )
    result = workshop.cli("run", workshop.output / "_job" / "job.yaml", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["skipped_units"] == 2


def test_what_a_worker_found_is_an_event(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as less memory than was asked for; each worker says it once, with its model."""
    note = "takes batches of 512 tokens instead of 65536: 0.1 GiB are free"
    monkeypatch.setattr(Encoder, "_batch_size", lambda _self, spec: (spec.tokens_per_batch, note))
    workshop.numbered(20)
    workshop.run(models=two(workshop))
    lines = (workshop.output / "_job" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    found = [event for event in map(json.loads, lines) if event["event"] == "worker_note"]
    assert [(event["model"], event["note"]) for event in found] == [("vec", note), ("mood", note)]
    assert all(event["pid"] == os.getpid() for event in found)
