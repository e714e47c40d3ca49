"""A run whose first units have only rejects, all for one reason, stops; NaN is such a reason."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import VOCABULARY, write_checkpoint
from workshop import Workshop, texts

REASON = "the model's result is not finite (NaN or infinity)"
GO_ON = "--set=input.stop_if_all_rejected=false"


def good(count: int) -> list[str]:
    return [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts(count))]


def broken(count: int) -> list[str]:
    return [f"{'x' * i}no JSON {i}" for i in range(count)]


def mixed(count: int) -> list[str]:
    """Two kinds of faults."""
    return [line if (i + 1) % 9 else "[1]" for i, line in enumerate(broken(count))]


@pytest.mark.parametrize(
    ("files", "stops"),
    [
        ((broken(24), good(8)), True),
        ((broken(40), good(8)), True),
        ((broken(16), good(8)), False),
        ((broken(23) + good(1), good(8)), False),
        ((good(8), broken(40)), False),
        ((mixed(24), good(8)), False),
    ],
    ids=["three units", "five", "two", "a row among them", "rows before", "two reasons"],
)
def test_a_run_stops_if_its_first_units_have_rejects_only(
    workshop: Workshop, files: Sequence[list[str]], stops: bool
) -> None:
    """The error names the reason, the count and a row; the option goes on where the run stopped."""
    for name, lines in zip("ab", files, strict=True):
        workshop.lines(lines, f"in/{name}.jsonl")
    job = workshop.job()
    result = workshop.cli("run", job)
    assert result.exit_code == (1 if stops else 0), result.stderr
    if stops:
        assert "all 24 rows of the first 3 units were rejected for one reason: not JSON" in result.stderr
        assert f"for example row 0 of {workshop.folder}/in/a.jsonl, no JSON 0;" in result.stderr
        assert "input.stop_if_all_rejected=false" in result.stderr
        assert workshop.cli("verify", workshop.output).exit_code == 0
        assert workshop.cli("run", job, GO_ON).exit_code == 0
    lines = [line for file in files for line in file]
    rejects = [line for line in lines if not line.startswith("{")]
    assert (len(workshop.rejects()), len(workshop.read())) == (len(rejects), len(lines) - len(rejects))


def nan_in(folder: Path, name: str, row: int) -> Path:
    tensors = load_file(folder / "model.safetensors")
    (found,) = (key for key in tensors if key.endswith(name))
    tensors[found][row, 3] = torch.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("task", "options"),
    [("embedding", {}), ("embedding", {"output_dtype": "ubinary"}), ("text-classification", {})],
)
def test_a_result_that_is_not_finite_is_a_reject(
    workshop: Workshop, tmp_path: Path, task: str, options: dict[str, Any]
) -> None:
    """With its reason; all others are written."""
    folder = nan_in(
        write_checkpoint(tmp_path / "nan", "bert", task, width=16, layers=1),
        "word_embeddings.weight",
        VOCABULARY.index("horse"),
    )
    workshop.rows([{"id": i, "text": f"the {'horse' if i % 5 == 2 else 'house'} {i}"} for i in range(20)])
    result = workshop.cli("run", workshop.job(models=[{"checkpoint": str(folder), "task": task, **options}]))
    assert result.exit_code == 0, result.stderr
    assert "warning: 4 row(s) were rejected" in result.stderr
    assert [(each["row"], each["reason"]) for each in workshop.rejects()] == [
        (row, REASON) for row in (2, 7, 12, 17)
    ]
    assert len(workshop.read()) == 16
    assert workshop.cli("verify", workshop.output).exit_code == 0


def test_a_model_that_gives_nothing_finite_stops_the_run(workshop: Workshop, tmp_path: Path) -> None:
    """Weights with NaN: after three units of a hundred rows, not after all."""
    folder = nan_in(
        write_checkpoint(tmp_path / "nan", "bert", "embedding", width=16, layers=1), "query.weight", 1
    )
    workshop.numbered(100)
    result = workshop.cli("run", workshop.job(models=[{"checkpoint": str(folder)}]))
    assert result.exit_code == 1
    assert f"all 24 rows of the first 3 units were rejected for one reason: {REASON}" in result.stderr
    assert len(workshop.data()) == 3
    whole = workshop.cli("run", workshop.job(models=[{"checkpoint": str(folder)}]), GO_ON)
    assert whole.exit_code == 0
    assert "warning: all 100 row(s) were rejected" in whole.stderr
