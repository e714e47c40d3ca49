"""A first job file: what it takes from the data and the checkpoint, and that it runs."""

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner
from workshop import Workshop

from corpusmill.jobs import JobConfig
from corpusmill.jobs.cli.app import app
from corpusmill.jobs.config.fields import job_fields
from corpusmill.jobs.resolve.job import load_job, resolve

ODD = [
    "a: b",
    "#note",
    "yes",
    "12",
    "- x",
    "quo'te",
    'dou"ble',
    "",
    "new\nline",
    "Ünï 💡",
    "[red]",
    "{x}",
    "null",
]


def written(workshop: Workshop, *arguments: object) -> dict[str, Any]:
    """Write a job file and load it; the text is kept in the folder."""
    target = workshop.folder / "job.yaml"
    result = workshop.cli("init", *arguments, "-o", target, "--force")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (f"wrote {target}; check it, then show its plan with: corpusmill plan {target}\n")
    JobConfig.from_yaml(target)
    return dict(yaml.safe_load(target.read_text(encoding="utf-8")))


def test_the_job_of_parquet_files_and_a_checkpoint_can_be_planned(workshop: Workshop) -> None:
    """Text by its usual name, an id, the checkpoint's task; `plan` counts the rows, `run` runs."""
    for name in ("in/a.parquet", "in/b.parquet"):
        workshop.table({"doc_id": [1, 2], "title": ["x" * 99] * 2, "body": ["a", "the"]}, name)
    job = written(workshop, workshop.folder / "in", "--checkpoint", workshop.classifier)
    assert job["input"] == {"path": str(workshop.folder / "in"), "text": "body", "keep": ["doc_id"]}
    assert job["models"] == [{"checkpoint": str(workshop.classifier), "task": "text-classification"}]
    target = workshop.folder / "job.yaml"
    plan = workshop.cli("plan", target, "--json", "--rate", "1000")
    assert json.loads(plan.stdout)["rows"] == 4
    assert workshop.cli("run", target, "--set", f"output.path={workshop.output}").exit_code == 0
    assert workshop.read().column_names == ["doc_id", "label", "score"]
    text = target.read_text(encoding="utf-8")
    assert "#   title: string, about 99 characters" in text
    assert "Labels: neg, pos." in text


def test_the_longest_texts_are_taken_where_no_name_helps(workshop: Workshop) -> None:
    """From JSONL in gzip; other columns are listed with their types; several paths are a list."""
    rows = [{"n": i, "kind": "k", "remarks": "word " * 20, "tags": ["a"]} for i in range(5)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (workshop.folder / "a.jsonl.gz").write_bytes(gzip.compress(content))
    (workshop.folder / "b.jsonl").write_bytes(content)
    paths = [str(workshop.folder / "a.jsonl.gz"), str(workshop.folder / "b.*")]
    job = written(workshop, *paths, "--checkpoint", workshop.embedder)
    assert job["input"] == {"path": paths, "text": "remarks", "keep": []}
    text = (workshop.folder / "job.yaml").read_text(encoding="utf-8")
    assert "#   tags: list<item: string>" in text
    assert "embedding: fixed_size_list<item: float>[16]" in " ".join(text.split())
    resolve(load_job(str(workshop.folder / "job.yaml"), run_date=date(2026, 12, 1)))


@pytest.mark.parametrize("name", ODD)
def test_names_that_yaml_reads_otherwise_are_quoted(workshop: Workshop, name: str) -> None:
    """As the text column and in the comments; the job that is read has the very name."""
    workshop.table({name: ["some text"], "id": ["x"]}, "in/a.parquet")
    job = written(workshop, workshop.folder / "in", "--checkpoint", workshop.embedder, "--text", name)
    assert job["input"]["text"] == name
    assert job["input"]["keep"] == ["id"]
    resolve(load_job(str(workshop.folder / "job.yaml"), run_date=date(2026, 12, 1)))


def test_a_task_of_pairs_gets_its_second_column(workshop: Workshop, tmp_path: Path) -> None:
    """A question-answering checkpoint reads the question from another column, or a comment says so."""
    from support.tiny_checkpoints import write_checkpoint

    reader = write_checkpoint(tmp_path / "reader", "bert", "question-answering", width=16, layers=1)
    workshop.table({"text": ["a b c"], "question": ["who"]}, "in/a.parquet")
    assert (
        written(workshop, workshop.folder / "in", "--checkpoint", reader)["input"]["text_pair"] == "question"
    )
    workshop.table({"text": ["a b c"]}, "alone/a.parquet")
    assert "text_pair" not in written(workshop, workshop.folder / "alone", "--checkpoint", reader)["input"]
    assert "# text_pair:   fill in" in (workshop.folder / "job.yaml").read_text(encoding="utf-8")
    result = workshop.cli("plan", workshop.folder / "job.yaml")
    assert "input.text_pair: is required by question-answering" in result.stderr


def test_without_a_checkpoint_the_job_embeds_with_minilm(workshop: Workshop) -> None:
    """And a comment says where to put another one."""
    workshop.numbered(3)
    job = written(workshop, workshop.folder / "in")
    assert job["models"][0]["task"] == "embedding"
    assert "No checkpoint was given" in (workshop.folder / "job.yaml").read_text(encoding="utf-8")


def test_without_files_every_field_is_there(workshop: Workshop) -> None:
    """Commented out, with its default, but for those that a job needs."""
    job = written(workshop)
    assert set(job) == {"name", "input", "models", "output"}
    text = (workshop.folder / "job.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Every field of a job.")
    lines = {line.strip("# -").partition(":")[0] for line in text.splitlines()}
    assert {field.path.rpartition(".")[2] for field in job_fields()} <= lines


def test_every_line_of_the_template_can_be_taken_into_the_job(workshop: Workshop) -> None:
    """A commented field loads once the # before it is gone; those that are null stand for themselves."""
    written(workshop)
    text = (workshop.folder / "job.yaml").read_text(encoding="utf-8")
    keys = {field.path.rpartition(".")[2] for field in job_fields()}
    taken = []
    for line in text.splitlines():
        stripped = line.strip().removeprefix("# ")
        key = stripped.partition(":")[0]
        plain = line.strip().startswith("# ") and key in keys and not stripped.endswith(": null")
        taken.append(line.replace("# ", "", 1) if plain and len(stripped.split()) <= 2 else line)
    job = JobConfig.from_dict(yaml.safe_load("\n".join(taken)))
    assert job.input.format == "auto"
    assert job.models[0].pool.min_workers == 1


def test_standard_output_gets_the_file_alone(workshop: Workshop) -> None:
    """`-o -` writes nothing else and no file."""
    workshop.numbered(3)
    result = workshop.cli("init", workshop.folder / "in", "-o", "-", "--checkpoint", workshop.embedder)
    assert yaml.safe_load(result.stdout)["input"]["text"] == "text"
    assert result.stderr == ""


def test_a_file_that_is_there_is_kept(workshop: Workshop) -> None:
    """Unless --force is given."""
    (workshop.folder / "job.yaml").write_text("mine")
    result = workshop.cli("init", "-o", workshop.folder / "job.yaml")
    assert result.exit_code == 2
    assert "job.yaml exists; choose another name, or replace it with --force" in result.stderr
    assert (workshop.folder / "job.yaml").read_text() == "mine"


def test_what_cannot_be_looked_at_is_refused_in_words(workshop: Workshop) -> None:
    """Missing files, no text, an unknown column, a missing checkpoint: exit code 2, one line."""
    workshop.numbered(3)
    workshop.table({"n": pa.array([1])}, "numbers/a.parquet")
    cases = {
        (str(workshop.folder / "nowhere.parquet"),): "FILES: ",
        (
            str(workshop.folder / "numbers"),
        ): "FILES: expected a column with text in all files, got columns 'n'",
        (
            str(workshop.folder / "in"),
            "--text",
            "id",
        ): "--text: expected a column with text ('text'), got 'id'",
        (str(workshop.folder / "in"), "--checkpoint", "nowhere"): "--checkpoint: nowhere: no such folder",
    }
    for arguments, words in cases.items():
        result = CliRunner().invoke(app, ["init", *arguments, "-o", "-"])
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith(f"error: {words}"), result.stderr
        assert len(result.stderr.splitlines()) == 1
