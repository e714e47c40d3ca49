"""Random checkpoint folders, written and read by the reference libraries: ours gives the same for each.

A folder that fails is minimised, kept and printed.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from support.drawn_folders import DrawnFolder, drawn_folders, write_folder
from support.reference_answers import AnyBest, Reference, choices, of_row
from support.running import encoded

from corpusmill.jobs.errors import ConfigError
from corpusmill.jobs.resolve.model import model_spec

ARCHITECTURES = ("bert", "distilbert", "squeezebert", "convbert", "mobilebert")
EXACT = {"rtol": 2e-4, "atol": 2e-5}
REFUSED_ON_PURPOSE = (
    "its pooling leaves out the prompt (include_prompt: false)",
    "like any word, so no text would have a mask",
)
NO_ROOM = "Truncation error: Sequence to truncate too short"
"""What the reference raises for a label that leaves a text no room; here the label is cut (docs/tasks.md)."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_answers_are_the_references(tmp_path: Path, architecture: str) -> None:
    """For 40 folders of each architecture, 200 in all."""
    compare(architecture, tmp_path, folders=40)


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_answers_are_the_references_for_thousands(tmp_path: Path, architecture: str, number: int) -> None:
    """For 1,000 folders of each architecture, 5,000 in all."""
    compare(architecture, tmp_path, folders=200, number=number)


def compare(architecture: str, tmp_path: Path, *, folders: int, number: int = 0) -> None:
    """Draw folders and compare; nearly all of them must have an answer to compare."""
    counts: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=folders,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(drawn=drawn_folders(architecture))
    def same_answers(drawn: DrawnFolder) -> None:
        folder = tmp_path / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        counts[outcome(drawn, write_folder(drawn, folder))] += 1

    same_answers()
    print(f"{architecture}: {dict(counts)}")
    assert counts["the same"] >= 0.85 * folders


def outcome(drawn: DrawnFolder, folder: Path) -> str:
    """Return how the two agree; a disagreement is an AssertionError with the folder's files."""
    theirs, ours = attempt(reference_answers, drawn, folder), attempt(job_answers, drawn, folder)
    if isinstance(ours, ConfigError):
        if isinstance(theirs, Exception):
            return "both refuse"
        if any(reason in str(ours) for reason in REFUSED_ON_PURPOSE):
            return "refused on purpose"
    if isinstance(ours, list) and NO_ROOM in repr(theirs):
        return "room for a part here only"
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        found: str | None = f"the reference: {theirs!r}; ours: {ours!r}"
    else:
        found = difference(ours, theirs)
    assert found is None, f"{folder}: {found}\n{contents(folder)}"
    return "the same"


def attempt(answers: Any, drawn: DrawnFolder, folder: Path) -> Any:
    """Return the answers, or the exception in their place."""
    try:
        return answers(drawn, folder)
    except Exception as error:
        return error


def reference_answers(drawn: DrawnFolder, folder: Path) -> list[Any]:
    return Reference(drawn, folder).answers()


def job_answers(drawn: DrawnFolder, folder: Path) -> list[Any]:
    pairs: Any = drawn.pairs
    if pairs is not None and drawn.task == "multiple-choice":
        pairs = [choices(pair) for pair in pairs]
    options = {"dtype": "float32", "device": "cpu", **(drawn.options or {})}
    spec = model_spec(str(folder), task=drawn.task, pairs=pairs is not None, **options)
    inputs = {"text": drawn.texts} | ({} if pairs is None else {"text_pair": pairs})
    return [of_row(drawn.task, row) for row in encoded(spec, **inputs).to_pylist()]


def difference(one: Any, other: Any, where: str = "") -> str | None:
    """Return where two answers differ, None if nowhere."""
    if isinstance(other, AnyBest):
        if one is None or not other:
            return difference(one, None if not other else max(other.items()), where)
        best = max(other.values())
        return difference([*one[2:], other.get(tuple(one[:2]))], [best, best], where)
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(one[key], other[key], f"{where}.{key}") for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, float) and isinstance(other, float) and np.isclose(one, other, **EXACT):
        return None
    else:
        return None if one == other else f"row{where}: expected {other}, got {one}"
    return next((found for x, y, name in pairs if (found := difference(x, y, name))), None)


def contents(folder: Path) -> str:
    """Return the files that are short, for the reader of a failure."""
    files = sorted(path for path in folder.rglob("*.json") if path.stat().st_size < 4000)
    return "\n".join(f"{path.relative_to(folder)}: {path.read_text('utf-8')}" for path in files)
