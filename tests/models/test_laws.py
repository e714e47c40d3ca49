"""What holds for the package's source as a whole."""

import ast
import sys
from pathlib import Path

import pytest

import corpusmill.models
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.heads import HEADS

ROOT = Path(corpusmill.models.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py"))
BOUNDARIES = {"cu_seqlens", "key_mask", "lengths", "max_length", "runs", "split"}
# Only compares the longest sequence with the number of positions.
MAY_READ_MAX_LENGTH = {"model.py"}
# Beside `ops`: the batch itself, and the kernels that `ops` chooses on a GPU.
LOOK_ACROSS = {"packed.py", "gpu/attention_kernels.py", "gpu/window_kernels.py"}
# A table of names, which it splits.
LOOK_ACROSS |= {"checkpoints/key_table.py"}
# What entries of a table are made of.
SHARED = {"__init__", "losses", "parts"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST) -> list[str]:
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def boundaries_read(path: Path) -> set[str]:
    """The sequence boundaries that a file reads although it may not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & BOUNDARIES
    return read - ({"max_length"} if path.name in MAY_READ_MAX_LENGTH else set())


def test_only_ops_and_packed_read_sequence_boundaries() -> None:
    """Everything else works on each token by itself, and is padding-free by construction."""
    others = [path for path in FILES if path.parent.name != "ops" and name_of(path) not in LOOK_ACROSS]
    found = {name_of(path): boundaries_read(path) for path in others}
    assert {name: read for name, read in found.items() if read} == {}


@pytest.mark.parametrize(("folder", "table"), [("architectures", ARCHITECTURES), ("heads", HEADS)])
def test_every_file_has_its_line_in_the_table(folder: str, table: dict[str, object]) -> None:
    """A new architecture or head that is not listed would never be loaded."""
    files = {path.stem for path in (ROOT / folder).glob("*.py")} - SHARED
    listed = {module for module in files for spec in table.values() if spec is module_spec(folder, module)}
    assert listed == files
    assert len(table) == len(files)


def module_spec(folder: str, module: str) -> object:
    return getattr(sys.modules[f"corpusmill.models.{folder}.{module}"], "SPEC", None)


def test_tables_agree_with_their_records() -> None:
    """The key of a line is the name in its record."""
    assert [spec.model_type for spec in ARCHITECTURES.values()] == list(ARCHITECTURES)
    assert [head.task for head in HEADS.values()] == list(HEADS)


@pytest.mark.parametrize("folder", ["architectures", "heads"])
def test_no_entry_of_a_table_imports_another(folder: str) -> None:
    """Architectures and heads are composed from shared blocks, not from each other."""
    for path in (ROOT / folder).glob("[!_]*.py"):
        names = imports(ast.parse(path.read_text(encoding="utf-8")))
        entries = [name for name in names if name.startswith(f"corpusmill.models.{folder}")]
        assert [name for name in entries if name.rpartition(".")[2] not in SHARED] == []


def test_the_table_of_architectures_and_heads_is_whole() -> None:
    """All families have all heads, but for the pair tasks that only two of them were trained for."""
    pairs = {"next-sentence-prediction", "pretraining"}
    assert set(ARCHITECTURES) == {"bert", "convbert", "distilbert", "mobilebert", "squeezebert"}
    for name, spec in ARCHITECTURES.items():
        assert set(spec.lacks) == (set() if name in ("bert", "mobilebert") else pairs)
    assert set(HEADS) - pairs == {
        "base",
        "embedding",
        "fill-mask",
        "multiple-choice",
        "question-answering",
        "sparse-embedding",
        "text-classification",
        "token-classification",
    }


def test_public_names_are_sorted_and_there() -> None:
    """`__all__` is what the package promises."""
    names = corpusmill.models.__all__
    assert names == sorted(names)
    assert all(hasattr(corpusmill.models, name) for name in names)
