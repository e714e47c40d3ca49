"""A first job file, made from the data and the checkpoint: `corpusmill init`."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from corpusmill.jobs.config.fields import JobField, job_fields
from corpusmill.jobs.demo.job import MINILM_HUB, minilm
from corpusmill.models import Checkpoint, ModelError, read_checkpoint
from corpusmill.pipeline.checkpoints.find import find_checkpoint
from corpusmill.pipeline.errors import CorpusmillError, InputError
from corpusmill.pipeline.input.arrow_types import is_list_of_text, is_text
from corpusmill.pipeline.input.listing import list_files
from corpusmill.pipeline.input.planning import file_schemas, format_of, plan_splits
from corpusmill.pipeline.input.readers import READERS
from corpusmill.pipeline.input.readers.infer import CONFLICT
from corpusmill.pipeline.input.schema import FileSchema, column_type
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile
from corpusmill.pipeline.tasks import TASKS
from corpusmill.pipeline.tasks.task import Needs

TEXT_NAMES = (
    "text",
    "body",
    "content",
    "document",
    "description",
    "review",
    "abstract",
    "passage",
    "message",
)
ID_NAMES = ("id", "_id", "uuid", "guid", "key", "pk", "doc_id", "docid", "document_id", "row_id", "url")
MAX_FILES_READ = 16
"""The most files whose columns are read: a corpus may have a million files."""
SAMPLE_ROWS = 200
COMMENT_WIDTH = 100


@dataclass(frozen=True, slots=True)
class DataSummary:
    """A summary of the files: the columns that all of them have, and the mean length of text columns."""

    files: int
    columns: dict[str, pa.DataType]
    lengths: dict[str, float]


@dataclass(frozen=True, slots=True)
class DetectedCheckpoint:
    """A checkpoint for the job file: its task, the needs of the task, and a description."""

    checkpoint: str
    task: str
    needs: Needs
    about: str


def job_file(paths: Sequence[str], *, checkpoint: str | None = None, text: str | None = None) -> str:
    """Return a commented job file for these inputs; without any, a template of all fields."""
    if not paths:
        return "\n".join(_template(checkpoint)) + "\n"
    model = _find_model(checkpoint)
    return "\n".join(_lines(paths, _read_data(paths), model, text)) + "\n"


def write_job_file(content: str, target: str, *, force: bool) -> None:
    """Write a job file; replace an existing file only with `force`."""
    path = Path(target)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise CorpusmillError(f"{target} exists; choose another name, or replace it with --force").at(
            "--output-file"
        ) from None
    except OSError as error:
        raise CorpusmillError(f"{target} cannot be written ({error.strerror})").at("--output-file") from None


def _read_data(paths: Sequence[str]) -> DataSummary:
    """Read the columns of the first files, and some rows of the first one."""
    try:
        files = list_files(paths).files
        schemas = file_schemas(files[:MAX_FILES_READ], "auto", None)
    except InputError as error:
        raise error.at("FILES") from None
    schemas = [named_schema for named_schema in schemas if named_schema[1].names] or schemas
    columns = {name: kind for name in schemas[0][1].names if (kind := _type(name, schemas)) is not None}
    if not any(map(is_text, columns.values())):
        known = ", ".join(f"{name!r} ({kind})" for name, kind in columns.items()) or "none"
        raise InputError(f"expected a column with text in all files, got columns {known}").at("FILES")
    return DataSummary(len(files), columns, _lengths(files[0], columns))


def _type(name: str, schemas: Sequence[FileSchema]) -> pa.DataType | None:
    """Return the type of a column that all files have; None for any other."""
    if any(CONFLICT in (schema.field(name).metadata or {}) for _, schema in schemas if name in schema.names):
        return None
    try:
        return column_type(name, schemas, field="FILES")
    except InputError:
        return None


def _lengths(file: StoredFile, columns: dict[str, pa.DataType]) -> dict[str, float]:
    """Return the mean length of each text column in the file's first rows."""
    texts = {name: kind for name, kind in columns.items() if is_text(kind)}
    spec = InputSpec(next(iter(texts)), None, tuple(texts), pa.schema(list(texts.items())))
    sizing = UnitSizing(SAMPLE_ROWS, 0.0, None)
    for split in plan_splits([file], format_of(file, "auto"), spec, sizing):
        for block in READERS[split.format].read(split, spec, frozenset()):
            return {name: _mean_length(block.kept[name]) for name in texts}
    return dict.fromkeys(texts, 0.0)


def _mean_length(column: pa.ChunkedArray) -> float:
    return float(pc.mean(pc.fill_null(pc.utf8_length(column.cast(pa.large_string())), 0)).as_py() or 0.0)


def _text_column(data: DataSummary, requested: str | None) -> str:
    """Return the text column: the requested one, one with a usual name, or the one with the longest texts."""
    if requested is not None:
        if requested not in data.lengths:
            known = ", ".join(map(repr, data.lengths))
            raise CorpusmillError(f"expected a column with text ({known}), got {requested!r}").at("--text")
        return requested
    by_name = {name.lower(): name for name in reversed(data.lengths)}
    usual = [by_name[name] for name in TEXT_NAMES if name in by_name]
    return usual[0] if usual else max(data.lengths, key=lambda name: data.lengths[name])


def _id_column(data: DataSummary, text: str) -> str | None:
    """Return a column whose name says that it identifies rows; None without one."""
    scalars = [name for name, kind in data.columns.items() if name != text and not pa.types.is_nested(kind)]
    by_name = {name.lower(): name for name in reversed(scalars)}
    usual = [by_name[name] for name in ID_NAMES if name in by_name]
    return next(iter([*usual, *(name for name in scalars if name.lower().endswith(("_id", "-id")))]), None)


def _find_model(checkpoint: str | None) -> DetectedCheckpoint:
    """Return the checkpoint with its task; default: all-MiniLM-L6-v2, from its package if installed."""
    if checkpoint is None:
        default_checkpoint = minilm()
        where = (
            "It is fetched from the Hugging Face hub once."
            if default_checkpoint == MINILM_HUB
            else "It is installed here."
        )
        about = f"No checkpoint was given: all-MiniLM-L6-v2 computes vectors of 384 dimensions. {where}"
        return DetectedCheckpoint(
            default_checkpoint, "embedding", Needs(), f"{about} Put the checkpoint of your choice here."
        )
    try:
        folder = find_checkpoint(checkpoint).folder
        task = read_checkpoint(folder).default_job_task
        read = read_checkpoint(folder, TASKS[task].head) if task else None
        task_object = TASKS[task](read, {}) if task and read else None
    except (ModelError, CorpusmillError) as error:
        raise CorpusmillError(str(error)).at("--checkpoint") from None
    if task is None or read is None or task_object is None:
        known = ", ".join(TASKS)
        raise CorpusmillError(f"{checkpoint}: expected a head for one of {known}").at("--checkpoint")
    columns = ", ".join(f"{field.name}: {field.type}" for field in task_object.schema)
    return DetectedCheckpoint(checkpoint, task, task_object.needs, f"{_about(read)} It writes {columns}.")


def _about(checkpoint: Checkpoint) -> str:
    labels = ", ".join(checkpoint.labels[:8]) + (", ..." if len(checkpoint.labels) > 8 else "")
    named = "" if checkpoint.task in ("embedding", "sparse-embedding", "fill-mask") else f" Labels: {labels}."
    return f"{checkpoint.model_type}, at most {checkpoint.max_positions} tokens.{named}"


def _lines(
    paths: Sequence[str], data: DataSummary, model: DetectedCheckpoint, requested: str | None
) -> Iterator[str]:
    text = _text_column(data, requested)
    kept = _id_column(data, text)
    second = _second_column(data, model.needs, text)
    name = _job_name(paths)
    yield from _comment(
        "Written by `corpusmill init`. All fields: `corpusmill init` without files, docs/job-file.md."
    )
    yield f"name: {_scalar(name)}"
    yield "input:"
    yield f"  path: {_scalar(paths[0]) if len(paths) == 1 else _scalars(paths)}"
    yield from _comment(f"{data.files:,} file(s). Columns:", "  ")
    for column, kind in data.columns.items():
        length = f", about {data.lengths[column]:.0f} characters" if column in data.lengths else ""
        yield f"  #   {_scalar(column)}: {_on_one_line(str(kind))}{length}"
    yield f"  text: {_scalar(text)}"
    yield from second
    yield f"  keep: {_scalars([kept] if kept else [])}{'' if kept else '   # columns to copy to the output'}"
    yield "models:"
    yield from _comment(model.about, "  ")
    yield f"  - checkpoint: {_scalar(model.checkpoint)}"
    yield f"    task: {model.task}"
    yield "    # dtype: auto          # float32, bfloat16, float16 (GPU) or int8: the precision"
    if model.needs.windows:
        yield "    # long_text: truncate  # window: read all of longer texts"
    yield "output:"
    yield f"  path: {_scalar(f'out/{name}')}"
    yield "  # format: arrow          # or parquet"


def _second_column(data: DataSummary, needs: Needs, text: str) -> list[str]:
    """Return the line of `text_pair` if the task reads a second column."""
    if needs.second in ("none", "optional"):
        return []
    fits = is_list_of_text if needs.second == "list" else is_text
    fitting = [name for name, kind in data.columns.items() if name != text and fits(kind)]
    if fitting:
        return [f"  text_pair: {_scalar(fitting[0])}   # the task reads a second column"]
    return ["  # text_pair:   fill in: the task reads a second column, but no column of the data fits"]


def _job_name(paths: Sequence[str]) -> str:
    """Return a name for the job: the last part of the path that is no pattern."""
    parts = [part for part in re.split(r"[/\\]", paths[0].partition("://")[2] or paths[0]) if part]
    part = next((part for part in reversed(parts) if not re.search(r"[*?\[]", part)), "job")
    stem = re.sub(r"(\.(parquet|pq|jsonl|ndjson|json|gz|zst|bz2|xz))+$", "", part.lower())
    return re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-") or "job"


def _scalar(value: str) -> str:
    """Return a text as YAML on one line, quoted if necessary."""
    plain = re.fullmatch(r"[\w./][\w./*@:-]*", value) and not value.endswith(":")
    if plain and yaml.safe_load(value) == value:
        return value
    return str(yaml.safe_dump(value, default_style='"', width=10**9, allow_unicode=True)).strip()


def _scalars(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_scalar, values))}]"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _comment(text: str, indent: str = "") -> list[str]:
    """Return wrapped lines of a comment; line breaks in names would end it early."""
    return textwrap.wrap(
        _on_one_line(text), COMMENT_WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _template(checkpoint: str | None) -> Iterator[str]:
    """Yield every field: the required ones with an example, the others as comments with their defaults."""
    examples = {
        "name": "my-job",
        "input.path": "data/*.parquet",
        "input.text": "text",
        "models[].checkpoint": checkpoint or MINILM_HUB,
        "output.path": "out/my-job",
    }
    yield from _comment("Every field of a job. Those without # are required: put in your own values.")
    for field in job_fields():
        yield from _field(field, examples.get(field.path))


def _field(field: JobField, example: str | None) -> Iterator[str]:
    *parents, key = field.path.split(".")
    entry = bool(parents) and parents[0] == "models[]"
    indent = "  " * (len(parents) + entry)
    about = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", field.description)
    first = field.path == "models[].checkpoint"
    margin = indent[:-2] if first else indent
    yield ""
    yield from _comment(
        about if field.section else f"{about} Values: {field.values}.".replace("`", ""), margin
    )
    if field.section:
        optional = not field.required
        yield f"{margin}{'# ' if optional else ''}{key}:"
    elif example is not None:
        yield f"{margin}{'- ' if first else ''}{key}: {_scalar(example)}"
    else:
        yield f"{margin}# {key}: {field.default}"
