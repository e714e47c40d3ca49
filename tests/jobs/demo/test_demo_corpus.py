"""The demo's corpus: complete, deterministic, and collected without running what it reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corpusmill.jobs.demo.corpus import MINIMUM_CHARACTERS, TRUTH, collect, write_jsonl
from corpusmill.jobs.demo.document import Document
from corpusmill.jobs.demo.source import source_documents
from sections import SECTIONS, section_of

# Each of these shows something, opens something or patches something when it is imported.
UNTOUCHED = {
    "antigravity",
    "idlelib",
    "lib2to3",
    "readline",
    "test",
    "this",
    "tkinter",
    "turtle",
    "turtledemo",
}


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(collect())


@pytest.mark.slow
def test_the_corpus_is_large_and_same_on_every_call(documents: list[Document]) -> None:
    """More than 5,000 documents, twice in the same order."""
    assert len(documents) > 5_000
    assert documents == list(collect())


@pytest.mark.slow
def test_texts_are_clean_unique_and_long_enough(documents: list[Document]) -> None:
    """No inherited docstring twice, no margins, nothing shorter than the minimum."""
    texts = [document.text for document in documents]
    assert len(set(texts)) == len(texts)
    assert all(text == text.strip() and len(text) >= MINIMUM_CHARACTERS for text in texts)


@pytest.mark.slow
def test_python_and_c_modules_are_both_there(documents: list[Document]) -> None:
    """A function from source, one from C, a method of a built-in type."""
    names = {(document.module, document.name) for document in documents}
    assert {("json", "dumps"), ("math", "sqrt"), ("builtins", "str.join")} <= names


@pytest.mark.slow
def test_tests_and_installed_packages_are_left_out(documents: list[Document]) -> None:
    """Only the library itself."""
    parts = {part for document in documents for part in document.module.split(".")}
    assert not parts & {"test", "tests", "idle_test", "site-packages", "pip", "pytest"}


@pytest.mark.slow
def test_collecting_imports_nothing_with_side_effects() -> None:
    """In a fresh interpreter: nothing but the answer is printed, and no such module is added."""
    program = (
        "import sys; from corpusmill.jobs.demo.corpus import collect; before = set(sys.modules); "
        "list(collect()); print(*set(sys.modules) - before)"
    )
    command = [sys.executable, "-W", "error::SyntaxWarning", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not UNTOUCHED & set(done.stdout.split())
    assert len(done.stdout.splitlines()) == 1


def test_a_source_is_read_not_run(tmp_path: Path) -> None:
    """Nested names are qualified; code that would fail is never executed."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text('"""Top."""\nraise SystemExit\n')
    (package / "inner.py").write_text(
        'class A:\n  if True:\n    def f(self):\n      """Do f."""\n  async def g(self):\n    "Do g."\n'
    )
    (package / "tests").mkdir()
    (package / "tests" / "a.py").write_text('"""A test."""')
    assert list(source_documents(tmp_path)) == [
        Document("package", "", "Top."),
        Document("package.inner", "A.f", "Do f."),
        Document("package.inner", "A.g", "Do g."),
    ]


@pytest.mark.parametrize("shards", [1, 4, 7])
def test_shards_read_in_order_are_the_corpus(tmp_path: Path, shards: int) -> None:
    """Round trip, with line breaks and non-ASCII text, fewer documents than shards included."""
    documents = [Document("m", f"n{i}", f"línea {i}\n\u2028 “zwei”\t𝛑") for i in range(6)]
    paths = write_jsonl(documents, tmp_path / "new", shards=shards)
    lines = [
        line for path in paths for line in path.read_bytes().decode("utf-8").rstrip("\n").split("\n") if line
    ]
    records = [json.loads(line) for line in lines]
    assert all(record.pop(TRUTH) == [] for record in records)
    assert [Document(**record) for record in records] == documents
    assert sorted((tmp_path / "new").iterdir()) == paths


@pytest.mark.slow
def test_each_text_has_the_spans_that_the_tagger_should_find(tmp_path: Path) -> None:
    """Offsets are code points, as `corpusmill evaluate` needs them."""
    (path,) = write_jsonl([Document("m", "n", "𝛑: ValueError, see PEP 8.")], tmp_path, shards=1)
    assert json.loads(path.read_text(encoding="utf-8"))[TRUTH] == [
        {"start": 3, "end": 13, "label": "EXCEPTION"},
        {"start": 19, "end": 24, "label": "REFERENCE"},
    ]


def test_no_shards_is_an_error(tmp_path: Path) -> None:
    """The message says what was expected."""
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        write_jsonl([], tmp_path, shards=0)


def test_each_module_has_one_section() -> None:
    """No module has two labels."""
    modules = [module for _, modules in SECTIONS.values() for module in modules.split()]
    assert len(set(modules)) == len(modules)


@pytest.mark.parametrize(
    ("module", "section"),
    [
        ("json", "internet-data-and-markup"),
        ("json.decoder", "internet-data-and-markup"),
        ("concurrent.futures.thread", "concurrency"),
        ("idlelib.pyshell", None),
        ("jsonlike", None),
    ],
)
def test_a_submodule_goes_with_its_package(module: str, section: str | None) -> None:
    """Private and undocumented modules have no section."""
    assert section_of(module) == section


@pytest.mark.slow
def test_every_section_has_enough_documents(documents: list[Document]) -> None:
    """A label with too few documents is a mistake in the table."""
    found = [section_of(document.module) for document in documents]
    assert min(found.count(section) for section in SECTIONS) >= 100
