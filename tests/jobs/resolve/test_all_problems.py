"""All problems of a job file in one round: of its form, inputs, checkpoints, tasks, names and output."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop

from corpusmill.jobs import ConfigError, Problem
from corpusmill.jobs.resolve.job import load_job, resolve

Fields = dict[str, Any]
Spoil = Callable[[Fields, Workshop], None]


@dataclass(frozen=True)
class Fault:
    """A fault: how to put it into a sound job, and the field and words of the one problem that it is."""

    spoil: Spoil
    field: str
    words: str


def put(path: str, value: Any) -> Spoil:
    """Set a field: `models.1.task`."""

    def spoil(fields: Fields, _: Workshop) -> None:
        *parents, last = path.split(".")
        node: Any = fields
        for part in parents:
            node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
        node[last] = value

    return spoil


def missing_file(fields: Fields, workshop: Workshop) -> None:
    fields["input"]["path"].append(str(workshop.folder / "nowhere.jsonl"))


def foreign_output(fields: Fields, workshop: Workshop) -> None:
    folder = workshop.folder / "somebody-elses"
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("not an output\n", encoding="utf-8")
    fields["output"]["path"] = str(folder)


def misspelled_checkpoint(fields: Fields, _: Workshop) -> None:
    fields["models"][3]["checkpont"] = fields["models"][3].pop("checkpoint")


FAULTS = {
    "unknown key": Fault(put("input.txt", "x"), "input.txt", "did you mean 'text'?"),
    "key of elsewhere": Fault(
        put("output.min_workers", 1), "output.min_workers", "belongs under models.pool"
    ),
    "key of another tool": Fault(
        put("models.0.batch_size", 8), "models[0].batch_size", "use models[].tokens_per_batch"
    ),
    "misspelled required key": Fault(
        misspelled_checkpoint, "models[3].checkpont", "did you mean 'checkpoint'?"
    ),
    "wrong value": Fault(put("models.1.long_text", "middle"), "models[1].long_text", "got 'middle'"),
    "wrong type": Fault(put("name", 7), "name", "string, got 7"),
    "bounds": Fault(
        put("models.1.pool", {"min_workers": 3, "max_workers": 2}), "models[1].pool", "min_workers at most"
    ),
    "missing input": Fault(missing_file, "input.path[1]", "nowhere.jsonl: no such file"),
    "no text column": Fault(put("input.text", "body"), "input.text", "expected a column 'body'"),
    "no kept column": Fault(put("input.keep", ["id", "title"]), "input.keep", "expected a column 'title'"),
    "missing checkpoint": Fault(
        put("models.4.checkpoint", "nowhere"), "models[4].checkpoint", "no such folder"
    ),
    "unknown task": Fault(put("models.5.task", "embeding"), "models[5].task", "did you mean embedding?"),
    "task of another tool": Fault(
        put("models.6.task", "ner"), "models[6].task", "ner is called token-classification here"
    ),
    "option of another task": Fault(put("models.0.top_k", 2), "models[0].top_k", "is an option of"),
    "option that does not fit": Fault(
        put("models.0.dimensions", 999), "models[0].dimensions", "expected 1 to"
    ),
    "too long": Fault(put("models.2.max_length", 9999), "models[2].max_length", "positions, got 9999"),
    "dtype that is not here": Fault(
        put("models.2.dtype", "float16"), "models[2].dtype", "needs a CUDA device"
    ),
    "no name": Fault(put("models.2.name", None), "models[2].name", "is required when there are several"),
    "bad name": Fault(put("models.4.name", "my model"), "models[4].name", "got 'my model'"),
    "name clash": Fault(put("models.1.name", "m0"), "models[1].name", "'m0_embedding' already exists"),
    "output in use": Fault(foreign_output, "output.path", "expected an empty folder"),
    "compression": Fault(put("output.compression", "snappy"), "output.compression", "expected one of zstd"),
}


def sound(workshop: Workshop) -> Fields:
    """A job of seven models, whose faults do not meet."""
    workshop.numbered(4)
    models = [
        {"checkpoint": str(workshop.embedder), "name": f"m{i}", "task": "embedding", "dtype": "float32"}
        for i in range(7)
    ]
    fields = workshop.fields(models=models)
    return fields | {"input": fields["input"] | {"path": [fields["input"]["path"]]}}


def problems(fields: Fields, workshop: Workshop) -> list[Problem]:
    """All that one run finds."""
    path = workshop.folder / "job.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    try:
        resolve(load_job(str(path), run_date=date(2026, 12, 1)))
    except ConfigError as error:
        return error.problems
    return []


def check(names: Sequence[str], workshop: Workshop) -> None:
    """Each fault is one problem at its field, and there is no other."""
    fields = sound(workshop)
    for name in names:
        FAULTS[name].spoil(fields, workshop)
    found = problems(fields, workshop)
    for name in names:
        fault = FAULTS[name]
        named = [problem for problem in found if problem.field == fault.field]
        assert len(named) == 1, (names, name, found)
        assert fault.words in named[0].message, (names, name, found)
    assert {problem.field for problem in found} == {FAULTS[name].field for name in names}, (names, found)


def test_a_sound_job_has_no_problem(workshop: Workshop) -> None:
    """The job that the faults are put into."""
    assert problems(sound(workshop), workshop) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_problem(workshop: Workshop, name: str) -> None:
    """With the path of its field, and nothing that follows from it."""
    check([name], workshop)


@pytest.mark.exhaustive
def test_every_pair_of_faults_is_reported_in_one_run(workshop: Workshop) -> None:
    """No fault hides another one, whichever two they are."""
    for pair in combinations(FAULTS, 2):
        check(pair, workshop)


@pytest.mark.parametrize("count", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_three_to_six_faults_are_reported_in_one_run(workshop: Workshop, count: int) -> None:
    """Drawn combinations, the same in every run."""
    draw = random.Random(17)
    for _ in range(count):
        check(draw.sample(list(FAULTS), draw.randint(3, 6)), workshop)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_both_commands_report_all_and_exit_with_2(workshop: Workshop, command: str) -> None:
    """An unknown key hides neither a missing input nor a misspelled task."""
    fields = sound(workshop)
    names = ("unknown key", "missing input", "unknown task", "missing checkpoint", "output in use")
    for name in names:
        FAULTS[name].spoil(fields, workshop)
    (workshop.folder / "job.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    result = workshop.cli(command, workshop.folder / "job.yaml")
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == len(names)
    assert all(any(f" {FAULTS[name].field}: " in line for line in lines) for name in names)


def test_a_bad_setting_and_a_repeated_key_hide_nothing(workshop: Workshop) -> None:
    """What they meant is not known, so nothing is said about those fields."""
    fields = sound(workshop)
    FAULTS["unknown task"].spoil(fields, workshop)
    path = workshop.folder / "job.yaml"
    path.write_text(yaml.safe_dump(fields) + "name: again\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_job(str(path), ["input.text=[", "models.9.dtype=auto"], run_date=date(2026, 12, 1))
    assert [problem.field for problem in caught.value.problems] == [
        "name",
        "--set input.text=[",
        "--set models.9.dtype=auto",
        "models[5].task",
    ]


@pytest.mark.parametrize(
    ("task", "options", "wrong"),
    [
        (
            "zero-shot-classification",
            {"hypothesis_template": "no place"},
            ["candidate_labels", "hypothesis_template"],
        ),
        (
            "zero-shot-classification",
            {"hypothesis_template": "no place", "candidate_labels": ["a", "a"]},
            ["candidate_labels", "hypothesis_template"],
        ),
        (
            "embedding",
            {"output_dtype": "int8", "normalize": False, "dimensions": 999},
            ["calibration", "dimensions"],
        ),
        (
            "embedding",
            {"output_dtype": "int8", "calibration": [1, 0], "dimensions": 999, "layer": 99},
            ["calibration", "dimensions", "layer"],
        ),
        ("token-embedding", {"output_dtype": "int8", "layer": 99}, ["layer", "output_dtype"]),
    ],
)
def test_all_wrong_options_of_a_task_are_reported_in_one_run(
    workshop: Workshop, tmp_path: Path, task: str, options: Fields, wrong: list[str]
) -> None:
    """Also beside an option that is required and missing; each option is one problem."""
    folder = tmp_path / "entailment"
    write_checkpoint(folder, "distilbert", "text-classification", width=16, layers=1)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = {"0": "entailment", "1": "contradiction", "2": "neutral"}
    config["id2label"] = {i: names.get(i, f"label {i}") for i in config["id2label"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    workshop.numbered(4)
    zero_shot = task == "zero-shot-classification"
    model = {"checkpoint": str(folder if zero_shot else workshop.embedder), "task": task, **options}
    found = problems(workshop.fields(models=[model]), workshop)
    assert sorted(problem.field for problem in found) == [f"models[0].{name}" for name in wrong]


def test_a_damaged_file_is_reported_beside_other_problems(workshop: Workshop) -> None:
    """It is a failed job only if nothing is wrong with the job file."""
    fields = sound(workshop)
    path = workshop.table({"id": [1], "text": ["a"]}, "in/hurt.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    FAULTS["too long"].spoil(fields, workshop)
    assert [problem.field for problem in problems(fields, workshop)] == ["models[2].max_length", "input.path"]
