"""The documentation holds: the site builds, and every command and snippet runs as it is shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.pages import DOCS, ROOT, blocks, pages, run_page

from corpusmill.pipeline.tasks import TASKS

TASK_PAGES = {task: f"tasks/{task}.md" for task in TASKS}
PAGES = [
    "checkpoints.md",
    "operations.md",
    "schedules.md",
    "report.md",
    "outputs.md",
    "own-program.md",
    "architectures.md",
    *TASK_PAGES.values(),
]
DEMO = "tests/docs/test_readme.py"
ELSEWHERE = {
    "submission.md": "tests/jobs/submission",
    "gpu.md": "tests/benchmarks/test_gpu.py",
    "evaluate.md": DEMO,
    "convert.md": DEMO,
    "benchmarking.md": DEMO,
}
"""Pages whose commands need more than a folder, and where they are run."""
LANGUAGES = {"sh", "python", "yaml", "text"}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the first page was followed."""
    folder = tmp_path_factory.mktemp("reader")
    run_page("index.md", folder)
    return folder


@pytest.mark.slow
def test_the_first_page_can_be_followed(started: Path) -> None:
    """From nothing to labels, printed as the page shows."""
    assert (started / "out/sections/_manifest.parquet").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_followed(page: str, tmp_path: Path) -> None:
    """After the first one; each by itself, where no copy would do: inputs are known by their paths."""
    run_page("index.md", tmp_path)
    assert run_page(page, tmp_path)


def test_every_page_with_commands_is_run() -> None:
    """A new page has to be listed, here or where its commands are run."""
    with_commands = {
        page for page in pages() if any(block.language in ("sh", "python") for block in blocks(page))
    }
    assert with_commands == {"index.md", *PAGES, *ELSEWHERE}
    for page in with_commands:
        assert {block.language for block in blocks(page)} <= LANGUAGES, page


def test_a_job_file_on_a_page_is_one_that_is_run() -> None:
    """YAML is shown with the name of the file it is, or it is no job."""
    for page in pages():
        for block in blocks(page):
            if block.language == "yaml" and "models:" in block.text:
                assert block.title, page
                assert yaml.safe_load(block.text)["models"]


def test_every_task_has_its_page() -> None:
    """No more and no fewer pages than tasks; each is in the site's menu and in the overview."""
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    overview = (DOCS / "tasks.md").read_text(encoding="utf-8")
    assert {page for page in pages() if page.startswith("tasks/")} == set(TASK_PAGES.values())
    (tasks,) = [entry["Tasks"] for entry in yaml.safe_load(menu)["nav"] if "Tasks" in entry]
    assert tasks == [{"All tasks": "tasks.md"}, *({task: page} for task, page in TASK_PAGES.items())]
    for task, page in TASK_PAGES.items():
        assert f"]({page})" in overview, task


@pytest.mark.parametrize("task", TASK_PAGES)
def test_a_tasks_page_shows_a_job_of_it_and_what_comes_out(task: str) -> None:
    """A job file that names the task, the command that runs it, and the output as a program prints it."""
    shown = list(blocks(TASK_PAGES[task]))
    jobs = {block.title: yaml.safe_load(block.text) for block in shown if block.language == "yaml"}
    commands = "".join(block.text for block in shown if block.language == "sh")
    assert [model["task"] for model in next(iter(jobs.values()))["models"]] == [task]
    assert all(f"corpusmill run {title} --executor inline\n" in commands for title in jobs)
    assert sum(bool(block.output) for block in shown if block.language == "python") >= len(jobs)


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: dead links, missing names and pages are errors; nothing comes from other hosts."""
    site = tmp_path / "site"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("jobs.driver.runner.run", "pipeline.ray_data.Tokenize", "models.loading.load_model"):
        assert f'id="corpusmill.{name}"' in page
    assert 'src="http' not in page
