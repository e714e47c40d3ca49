"""The pages that are written from the program are what the program says now."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
from support.named_tests import all_names

from corpusmill.jobs.cli.app import app
from corpusmill.jobs.cli.plain_help import plain_text
from corpusmill.jobs.config.fields import job_fields

DOCS = Path(__file__).parents[2] / "docs"


def generator() -> ModuleType:
    """The script that writes the pages."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["job-file.md", "command-line.md", "checkpoints.md"])
def test_a_generated_page_is_up_to_date(page: str) -> None:
    """`make docs` writes it again."""
    pages = generator().PAGES
    assert pages[page]().rstrip() + "\n" == (DOCS / page).read_text(encoding="utf-8"), "run docs/generate.py"


def test_every_page_of_the_generator_is_looked_at() -> None:
    """A new one has to be listed above."""
    assert set(generator().PAGES) == {"job-file.md", "command-line.md", "checkpoints.md"}


def test_every_difference_from_the_reference_is_shown_by_a_test() -> None:
    """The page names it."""
    assert {test for *_, test in generator().DIFFERENCES} <= all_names()


def test_every_field_has_a_description_in_whole_sentences() -> None:
    """It stands below the field in the models of the job file."""
    assert [field.path for field in job_fields() if not field.description.rstrip().endswith(".")] == []


def test_the_pages_name_every_field_and_every_command() -> None:
    """In full: paths of fields, commands with their groups, long options."""
    fields = (DOCS / "job-file.md").read_text(encoding="utf-8")
    assert [field.path for field in job_fields() if f"`{field.path}`" not in fields] == []
    text = (DOCS / "command-line.md").read_text(encoding="utf-8")
    for path, command in generator().commands(typer.main.get_command(app), ()):
        section = text.partition(f"## corpusmill {' '.join(path)}\n")[2].partition("\n## ")[0]
        assert plain_text(command.help).split("\n\n")[0] in section
        options = [name for part in command.params for name in part.opts if name.startswith("--")]
        assert [name for name in options if name != "--help" and name not in section] == []
