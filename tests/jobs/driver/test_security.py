"""Nothing of an input, a checkpoint or a job file is ever executed, and no name leads out of the output."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workshop import Workshop

UNIT = re.compile(r"[0-9a-f]{16}-\d{5,}-\d{9,}-\d+")
RECORDS = {
    "job.yaml",
    "fingerprint.json",
    "plan.jsonl",
    "events.jsonl",
    "receipts.jsonl",
    "stats.json",
    "report.html",
}


class Bomb:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What must never appear."""
    return tmp_path / "executed"


@pytest.fixture
def checkpoint(workshop: Workshop, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(workshop.classifier, tmp_path / "spoiled"))


def pickled_weights(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))


def pickle_named_safetensors(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(mark)))


def no_weights_but_tensorflow(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")


@pytest.mark.parametrize("spoil", [pickled_weights, pickle_named_safetensors, no_weights_but_tensorflow])
def test_weights_that_are_no_safetensors_are_refused(
    workshop: Workshop, checkpoint: Path, mark: Path, spoil: Callable[[Path, Path], None]
) -> None:
    """By run and plan, in one line; inspect, which looks at what no job could run, lists it as a problem."""
    workshop.numbered(4)
    spoil(checkpoint, mark)
    job = workshop.job(models=[{"checkpoint": str(checkpoint)}])
    for command in ("run", "plan"):
        result = workshop.cli(command, job)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert "safetensors" in result.stderr
        assert "fault of corpusmill" not in result.stderr
    problems = json.loads(workshop.cli("inspect", checkpoint, "--json").stdout)["problems"]
    assert any("expected" in problem and "safetensors" in problem for problem in problems)
    assert not mark.exists()
    assert not workshop.output.exists()


def test_code_beside_weights_is_not_run(workshop: Workshop, checkpoint: Path, mark: Path) -> None:
    """Neither the modules that a configuration names nor other pickles; the model is the one it says."""
    workshop.numbered(4)
    workshop.run(models=[{"checkpoint": str(checkpoint)}])
    expected = workshop.read()
    code = f"import os\nos.mkdir({str(mark)!r})\n"
    for name in ("modeling_x.py", "configuration_x.py", "tokenization_x.py", "__init__.py", "conftest.py"):
        (checkpoint / name).write_text(code)
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin"):
        (checkpoint / name).write_bytes(pickle.dumps(Bomb(mark)))
    names = {
        "AutoConfig": "configuration_x.X",
        "AutoModel": "modeling_x.X",
        "AutoTokenizer": "tokenization_x.X",
    }
    for name in ("config.json", "tokenizer_config.json"):
        fields = json.loads((checkpoint / name).read_text())
        (checkpoint / name).write_text(json.dumps(fields | {"auto_map": names}))
    shutil.rmtree(workshop.output)
    workshop.run(models=[{"checkpoint": str(checkpoint)}])
    assert workshop.read().equals(expected)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "ray.data.arrow_pickled_object", "x"])
def test_types_that_carry_pickles_are_not_loaded(workshop: Workshop, mark: Path, name: str) -> None:
    """Older Arrow unpickled the metadata of a Parquet column's type."""
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": pickle.dumps(Bomb(mark))}
    schema = pa.schema([pa.field("id", pa.int64(), metadata=metadata), ("text", pa.string())])
    table = pa.table({"id": [1], "text": ["a"]}, schema=schema)
    pq.write_table(table, workshop.table(table, "in/a.parquet"))
    result = workshop.cli("run", workshop.job())
    assert result.exit_code in (0, 1, 2)
    assert workshop.cli("verify", workshop.output).exit_code == 0
    assert not mark.exists()


def test_a_pickle_is_no_input(workshop: Workshop, mark: Path) -> None:
    """Under its own name, or under one of a format."""
    for name in ("a.pkl", "a.jsonl", "a.parquet"):
        path = workshop.lines([pickle.dumps(Bomb(mark))], f"pickles/{name}")
        workshop.cli("run", workshop.job(input__path=str(path)))
    assert not mark.exists()


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.mkdir", "!!python/name:os.mkdir", "!!python/module:os", "!x", "!!binary"],
)
def test_tags_in_a_job_file_mean_nothing(workshop: Workshop, mark: Path, tag: str) -> None:
    """A refusal, or a plain value; in a setting too."""
    workshop.numbered(4)
    job = workshop.job()
    job.write_text(job.read_text().replace("name: test", f"name: {tag} ['{mark}']"))
    assert workshop.cli("run", job).exit_code == 2
    assert workshop.cli("run", workshop.job(), "--set", f"name={tag} ['{mark}']").exit_code == 2
    assert not mark.exists()


def test_no_name_leads_out_of_the_output(workshop: Workshop, mark: Path) -> None:
    """Files are named by hash and counters, whatever inputs, columns and models are called."""
    odd = [
        "a\\..\\..\\a.jsonl",
        "%2e%2e%2fb.jsonl",
        f"$(mkdir {mark.name}).jsonl",
        "c\nd.jsonl",
        "e' ; f.jsonl",
        "…ü😀.jsonl",
    ]
    for number, name in enumerate(odd):
        workshop.rows([{"../id": number, "text": "a"}, {"../id": "x", "text": "b"}], f"in/{name}")
    before = {path for path in workshop.folder.rglob("*") if workshop.output not in path.parents}
    result = workshop.cli(
        "run",
        workshop.job(
            name="../../name",
            input__keep=["../id"],
            input__schema={"../id": "int64"},
            models=[{"checkpoint": str(workshop.embedder), "name": "../../m"}],
        ),
    )
    if result.exit_code:
        assert "models[0].name" in result.stderr
        assert (
            workshop.cli(
                "run", workshop.job(input__keep=["../id"], input__schema={"../id": "int64"})
            ).exit_code
            == 0
        )
    after = {path for path in workshop.folder.rglob("*") if workshop.output not in path.parents}
    assert after - before <= {workshop.output, workshop.folder / "job.yaml"}
    for folder, suffix in (("data", ".arrow"), ("rejects", ".jsonl")):
        names = [path.name for path in (workshop.output / folder).iterdir()]
        assert len(names) == len(odd)
        assert all(UNIT.fullmatch(name.removesuffix(suffix)) for name in names)
    assert {path.name for path in (workshop.output / "_job").iterdir()} == RECORDS
    assert workshop.cli("verify", workshop.output).exit_code == 0
    assert not mark.exists()


def test_a_unit_whose_record_names_another_place_is_not_followed(workshop: Workshop) -> None:
    """A data file that says it is `../../x` is a problem, not a path."""
    workshop.numbered(4)
    workshop.run()
    (path,) = (workshop.output / "data").iterdir()
    table = pa.ipc.open_file(path).read_all()
    record = json.loads(table.schema.metadata[b"corpusmill"]) | {"unit": "../../x", "rejected": 1}
    described = table.replace_schema_metadata({b"corpusmill": json.dumps(record).encode()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, described.schema) as writer:
        writer.write_table(described)
    result = workshop.cli("verify", workshop.output)
    assert result.exit_code == 1
    assert "holds unit ../../x; the file was renamed or copied" in result.stdout
