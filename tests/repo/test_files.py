"""What every file keeps to: no marks, no machine's paths, no dead links, job files that load."""

import ast
import re
import subprocess
from pathlib import Path

import yaml

from corpusmill.jobs import JobConfig

ROOT = Path(__file__).parents[2]
MARKS = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X:")))
MACHINE = re.compile(
    "|".join((r"(?<![\w.])/wo" + "rk/", "/tm" + "p/w/", r"(?<![\w.])/ho" + "me/", r"(?<![\w.])/Us" + "ers/"))
)
ONCE = {
    "the first line of an error": (
        r"str\(error\)[\w.() ]*splitlines\(\)( or \[.*\]\))?\[0\]|line for line in str\(error\)",
        {"pipeline/errors.py", "models/errors.py"},
    ),
    "a parse of /proc/cpuinfo": (r"\"/proc/cpu" + r"info\"", {"pipeline/machine.py"}),
}
"""What is written by hand in one place only."""
SHARED_CLASS_NAMES = {"ConfigError", "InputError", "OptionError"}
"""`models/errors.py` is the exception tree of a package of its own, which knows neither pipeline nor jobs."""
LINK = re.compile(r"\]\(([^)\s]+?)(?:#[^)]*)?\)|\b(?:src|href)=\"([^\"#]+)")
FOLDERS = ("docs", "benchmarks", "training", "configs")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md"))])
JOBS = sorted([*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "configs").rglob("*.yml")])


def tracked() -> list[Path]:
    """The files that git knows; none where the source came without git."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern stands in a tracked text file."""
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            lines = content.decode("utf-8", "replace").splitlines()
            found += [
                f"{path.relative_to(ROOT)}:{i}: {line:.80}"
                for i, line in enumerate(lines, 1)
                if pattern.search(line)
            ]
    return found


def test_nothing_is_left_marked_as_to_be_done() -> None:
    """What is open is an issue, not a comment."""
    assert lines_with(MARKS) == []


def test_no_file_names_a_place_on_one_machine() -> None:
    """Paths are relative, or made by the tests."""
    assert lines_with(MACHINE) == []


def test_what_has_one_place_is_nowhere_else() -> None:
    """Every other place calls that one; a model knows no pipeline, so that package has its own."""
    for what, (pattern, places) in ONCE.items():
        paths = [line.partition(":")[0] for line in lines_with(re.compile(pattern))]
        found = {path for path in paths if path.startswith(("models/", "pipeline/", "jobs/"))}
        assert found == places, what


def test_a_class_name_has_one_meaning() -> None:
    """In all three packages together, private classes too."""
    places: dict[str, list[str]] = {}
    for folder in ("models", "pipeline", "jobs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    repeated = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in repeated.items() if name not in SHARED_CLASS_NAMES} == {}
    assert set(repeated) == SHARED_CLASS_NAMES, "a name that is no longer shared leaves the list"


def local_links(document: Path) -> list[str]:
    """What a document refers to in the repository, outside its code blocks."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [one or other for one, other in LINK.findall(text)]
    return [target for target in targets if not re.match(r"[a-z]+:|//", target)]


def test_relative_links_lead_somewhere() -> None:
    """From where each document lies."""
    dead = [
        (str(document.relative_to(ROOT)), target)
        for document in DOCUMENTS
        for target in local_links(document)
        if not (document.parent / target).exists()
    ]
    assert dead == []


def test_every_job_file_of_the_repository_loads() -> None:
    """As `corpusmill run` loads it."""
    assert JOBS
    for path in JOBS:
        assert JobConfig.from_yaml(path).name, path


def test_the_job_file_that_the_documentation_begins_with_loads() -> None:
    """What a newcomer copies works."""
    page = (ROOT / "docs/job-file.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml[^\n]*\n(.*?)```", page, flags=re.DOTALL)
    assert JobConfig.from_dict(yaml.safe_load(block), "job-file.md").name == "reviews"
