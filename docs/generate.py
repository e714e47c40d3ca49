"""Write the pages that are made from the program: the job file and the command line.

`python docs/generate.py` writes them; tests/docs/test_generated.py fails while one is out of date.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from corpusmill.jobs.cli.app import app
from corpusmill.jobs.cli.plain_help import plain_text
from corpusmill.jobs.config.fields import job_fields
from corpusmill.pipeline.tasks import TASKS

DOCS = Path(__file__).parent
MADE = "<!-- Written by docs/generate.py from {}; change that and run `make docs`. -->"

JOB_FILE = """# The job file

A job is a YAML file. `corpusmill init FILES...` writes one from your data. Few fields are enough:

```yaml title="reviews.yaml"
name: reviews
input:
  path: data/reviews/*.parquet
  text: body
  keep: [id]
models:
  - checkpoint: hf://sentence-transformers/all-MiniLM-L6-v2
output:
  path: out/reviews
```

`run` and `plan` report all problems of a job file at once, each with the path of its field. An unknown key
names the nearest known one, and keys and tasks of other tools are explained. `--set models.0.dtype=bfloat16`
changes a field for one run. More examples are in `configs/`.

A checkpoint that is no folder is fetched once per node into `~/.cache/corpusmill` (or `$CORPUSMILL_CACHE`),
verified by its digest, and used offline from then on. A hub name without `@revision` stays at the commit that
was fetched first. `corpusmill inspect CHECKPOINT` shows what a checkpoint holds: architecture, sizes, cost
per token, tokenizer, labels, and what is missing.

`dtype: auto` times a matrix product of the checkpoint's width in each dtype, once per machine. It takes fewer
bits where they are 1.2 times as fast, and int8 only with `allow_int8`. The choice and its reason are in
`_job/events.jsonl`; it stays the same until the output is complete
([decision 11](decisions/0011-auto-is-measured-once.md)).
"""

COMMAND_LINE = """# The command line

Every command has `--help` (or `-h`). `corpusmill --install-completion` teaches the shell the commands.

| exit code | means |
|---|---|
| 0 | done; rejected rows are a warning |
| 1 | the job failed: one line says why and what to do; what is committed stays |
| 2 | wrong usage or configuration: all problems at once, each with its field |
| 130, 143 | interrupted by Ctrl-C, terminated: what is committed stays, the same command continues |

With `--json` a command prints one JSON object on standard output. Logs and progress go to standard error.
`NO_COLOR=1` turns colours off.
"""


def job_file() -> str:
    """Return the page of the job file."""
    own = {option for task in TASKS.values() for option in task.options}
    lines = [MADE.format("jobs/config/schema.py"), JOB_FILE]
    fields = list(job_fields())
    top = dict.fromkeys(field.path.split(".")[0].removesuffix("[]") for field in fields)
    for section in top:
        below = [field for field in fields if re.split(r"[.\[]", field.path)[0] == section]
        general = [field for field in below if field.path.rpartition(".")[2] not in own]
        lines += [f"## {section}\n", *table(general), ""]
        if section == "models":
            lines += [*task_options([field for field in below if field not in general]), ""]
    return "\n".join(lines)


def table(fields: list[Any]) -> Iterator[str]:
    """Yield the rows of a table of fields."""
    yield "| field | values | default | meaning |"
    yield "|---|---|---|---|"
    for field in fields:
        default = "required" if field.required else f"`{field.default}`" if field.default else ""
        yield f"| `{field.path}` | {cell(field.values)} | {default} | {cell(field.description)} |"


def task_options(fields: list[Any]) -> Iterator[str]:
    """Yield the options of tasks, each with the tasks that have it."""
    yield "### Options of tasks\n"
    yield "They stand in the model's entry. An option of another task is an error. An option that is left out"
    yield "takes the task's default, which is on the task's page.\n"
    yield "| field | values | tasks | meaning |"
    yield "|---|---|---|---|"
    for field in fields:
        name = field.path.rpartition(".")[2]
        tasks = ", ".join(
            f"[{task}](tasks/{task}.md)" for task, kind in TASKS.items() if name in kind.options
        )
        values = field.values.removesuffix(" or `null`").removesuffix(", `null`")
        yield f"| `{field.path}` | {cell(values)} | {tasks} | {cell(field.description)} |"


def cell(text: str) -> str:
    """Return a text that fits into a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def command_line() -> str:
    """Return the page of the command line."""
    lines = [MADE.format("jobs/cli/app.py and jobs/cli/"), COMMAND_LINE]
    for path, command in commands(typer.main.get_command(app), ()):
        lines += [*command_section(path, command), ""]
    return "\n".join(lines)


def commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all commands with their paths, groups left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def command_section(path: tuple[str, ...], command: Any) -> Iterator[str]:
    """Yield what the page has about a command: its purpose, an example, arguments and options."""
    about, _, example = plain_text(command.help).partition("Example: ")
    yield f"## corpusmill {' '.join(path)}\n"
    yield f"{about.strip()}\n"
    yield f"```text\n{example.strip()}\n```\n"
    yield "| argument or option | default | meaning |"
    yield "|---|---|---|"
    for part in command.params:
        if part.name == "help":
            continue
        default = part.default if part.default not in (None, False, ()) and not callable(part.default) else ""
        shown = f"`{default}`" if default != "" else "required" if part.required else ""
        yield f"| `{usage(part)}` | {shown} | {cell(plain_text(part.help))} |"


def usage(part: Any) -> str:
    """Return an option with its value's name, or an argument."""
    if part.param_type_name == "argument":
        return str(part.metavar or part.name.upper()).replace("|", "\\|")
    names = ", ".join(part.opts)
    return names if part.is_flag else f"{names} {part.metavar or part.type.name.upper()}".replace("|", "\\|")


PAGES = {"job-file.md": job_file, "command-line.md": command_line}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page().rstrip() + "\n", encoding="utf-8")
