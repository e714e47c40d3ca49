"""Write the pages that are made from the program: the job file, the command line and the checkpoints.

`python docs/generate.py` writes them; tests/docs/test_generated.py fails while one is out of date.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from corpusmill.jobs.cli.app import app
from corpusmill.jobs.cli.plain_help import plain_text
from corpusmill.jobs.config.fields import job_fields
from corpusmill.models.checkpoints.key_table import FILES, Keys
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

CHECKPOINTS = """# Checkpoints

A job gives the answer that the checkpoint's own library gives for the folder: transformers 5.23, and
sentence-transformers 6.2 for a folder with `modules.json`. If a key of its files cannot be honoured, the job
is refused before it starts.

Every known key of a checkpoint's files is in one of the tables below:

- **honoured**: the key counts as in the reference. Where values are listed, any other value is refused.
- **without effect**: the key does not change the result, neither here nor in the reference. The reason is
  beside it.
- **refused**: the key changes the result in a way that this version does not support. What to do is beside
  it. Where values are listed, they are accepted.

A key that is null counts as absent. A key that is in no table is noted by `inspect`, `plan` and `run`, and
has no effect.

```sh
corpusmill inspect sections
```

## Other versions, and differences on purpose

| where | the reference | here | test |
|---|---|---|---|
"""

DIFFERENCES = (
    (
        "[question-answering](tasks/question-answering.md)",
        "The pipeline of transformers 4.57 adds up the scores of equal answers. Version 5 has none.",
        "The scores are those of transformers 4.48 to 4.52: equal answers count once, with the best score.",
        "test_one_window_gives_the_answers_of_transformers",
    ),
    (
        "[token-classification](tasks/token-classification.md): accents",
        "A span ends before a combining accent that the tokenizer strips from its last letter.",
        "The accent belongs to its letter, and to the span.",
        "test_places_are_those_of_transformers_but_for_stripped_marks",
    ),
    (
        "token-classification: BIOES, BILOU",
        "The pipeline knows B- and I- only: E-x, S-x, L-x and U-x are read like I-x.",
        "E- and L- end a span, S- and U- are spans of one piece, if the label set has these prefixes.",
        "test_spans_written_in_a_scheme_are_read_back",
    ),
    (
        "token-classification: labels with a dash",
        "A label is cut at its first dash: `E-mail` becomes `mail`.",
        "A type without one of those prefixes keeps its whole name.",
        "test_a_prefix_counts_where_the_label_set_uses_it_as_one",
    ),
    (
        "token-classification: `aggregation` by words",
        "A token that is longer or shorter than its text counts as a later piece of the word before. With "
        "`strip_accents` this is every Korean word.",
        "The tokenizer's own words count.",
        "test_words_are_the_tokenizers_where_a_token_is_longer_than_its_text",
    ),
    (
        "[zero-shot-classification](tasks/zero-shot-classification.md): `multi_label`",
        "The first label is the contradiction, or the last one where the first is the entailment.",
        "The label whose name begins with `contradict` counts; the place decides only without one.",
        "test_zero_shot_takes_its_verdicts_from_the_labels_names",
    ),
    (
        "[reranking](tasks/reranking.md): no stated activation",
        "`CrossEncoder` applies a sigmoid to a single score.",
        "The score is raw, which keeps the order of high scores; a note reports it.",
        "test_a_checkpoint_that_states_nothing",
    ),
    (
        "cross-encoders: an activation that is not run",
        "`CrossEncoder` warns, and applies a sigmoid to a single score, nothing to several.",
        "It is refused, unless the job sets `function_to_apply`.",
        "test_another_activation_is_refused_by_name",
    ),
    (
        "padding",
        "MobileBERT and ConvBERT give other results in a padded batch ([exactness](exactness.md)). With "
        "`padding_side: left` all architectures do: positions count from the first padding.",
        "The result is that of the sequence alone.",
        "test_a_field_counts_as_in_transformers",
    ),
    (
        "`dtype` in config.json",
        "transformers 5 computes in this dtype.",
        "The `dtype` of the job decides.",
        "test_a_key_without_effect_changes_nothing",
    ),
    (
        "`position_embedding_type`",
        "transformers 4 reads `relative_key` for BERT, version 5 ignores it.",
        "It is refused: the weights were trained with version 4.",
        "test_a_value_that_cannot_be_honoured_is_refused",
    ),
    (
        "`never_split`, `clean_text`, `wordpieces_prefix`",
        "transformers 5 ignores them.",
        "They count as in transformers 4 ([tokenizers](exactness.md#tokenizers)).",
        "test_words_that_are_never_split_stay_whole",
    ),
)
"""Where it is, what the reference does, what this version does, and the test that shows it."""


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


def checkpoints() -> str:
    """Return the page of the keys of a checkpoint's files."""
    lines = [MADE.format("models/checkpoints/key_table.py"), CHECKPOINTS.rstrip()]
    lines += [f"| {where} | {theirs} | {ours} | `{test}` |" for where, theirs, ours, test in DIFFERENCES]
    for file in FILES.values():
        rows = file.listed or file.keys
        some = any(row.of for row in rows)
        lines += [
            f"\n## {file.title}\n",
            f"| key |{' of |' if some else ''} treatment | meaning, reason or advice |",
            f"|---|{'---|' if some else ''}---|---|",
        ]
        for row in rows:
            keys = ", ".join(f"`{name}`" for name in row.names)
            of = f" {', '.join(row.of)} |" if some else ""
            lines.append(f"| {keys} |{of} {treatment(row)} | {cell(row.remark)} |")
    return "\n".join(lines)


def treatment(row: Keys) -> str:
    """Return a row's treatment, with the values that it depends on."""
    if not row.values:
        return row.treatment
    shown = ", ".join(f"`{value}`" for value in dict.fromkeys(map(json.dumps, row.values)))
    return f"{row.treatment}: {shown}" if row.treatment == "honoured" else f"refused, except {shown}"


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


PAGES = {"job-file.md": job_file, "command-line.md": command_line, "checkpoints.md": checkpoints}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page().rstrip() + "\n", encoding="utf-8")
