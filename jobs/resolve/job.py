"""From a job's configuration to the pipeline's specification, checked against inputs and checkpoints.

Everything that can be known before the first row is checked here, and all problems are reported at once.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import pyarrow as pa

from corpusmill.jobs.config.dates import unknown_placeholder, with_run_date
from corpusmill.jobs.config.schema import InputConfig, JobConfig, OutputConfig, read_job_file
from corpusmill.jobs.errors import ConfigError, Problem
from corpusmill.jobs.resolve.checks import Checks
from corpusmill.jobs.resolve.dtype import check_output_folder, recorded_dtypes
from corpusmill.jobs.resolve.input_files import list_inputs
from corpusmill.jobs.resolve.model import CheckedModel, ResolvedModel, check_model
from corpusmill.pipeline.errors import CorpusmillError, InputError, OutputError
from corpusmill.pipeline.input.arrow_types import parse_type
from corpusmill.pipeline.input.own_output import RUN_DATE, OwnOutput
from corpusmill.pipeline.input.planning import file_schemas, format_of, plan_splits
from corpusmill.pipeline.input.readers.infer import CONFLICT
from corpusmill.pipeline.input.schema import FileSchema, check_text, check_texts, column_type, kept_columns
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.machine import compute_threads
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.sinks import SINKS
from corpusmill.pipeline.spec import InputSpec, OutputSpec, PipelineSpec
from corpusmill.pipeline.storage import StoredFile, absolute

SECOND_COLUMNS = {
    "multiple-choice": "the choices, lists of texts",
    "reranking": (
        "the passages; if the checkpoint classifies or rates single texts, set the model's task to "
        "text-classification"
    ),
}
"""The contents of `input.text_pair`, where that is not simply a second text."""


@dataclass(frozen=True)
class ResolvedJob:
    """A job that is ready to run: the specification of the pipeline, and the input cut into splits.

    `notes` are messages for the user: about the listing of the input, and settings that have no full effect.
    """

    config: JobConfig
    spec: PipelineSpec
    models: tuple[ResolvedModel, ...]
    files: tuple[StoredFile, ...]
    splits: tuple[Split, ...]
    sizing: UnitSizing
    notes: tuple[str, ...] = ()

    def print_notes(self) -> None:
        """Print the notes on standard error: standard output has results only."""
        for note in self.notes:
            print(f"note: {note}", file=sys.stderr, flush=True)


def load_job(path: str, overrides: Sequence[str] = (), *, run_date: date) -> JobConfig:
    """Load a job file.

    A file with faults of form is a ConfigError, which also lists the problems of the rest: inputs,
    checkpoints, output. Without such faults the rest is left to `resolve`.
    """
    reading = read_job_file(path, overrides)
    if reading.job is None or reading.problems:
        rest: list[Problem] = []
        if job := reading.job:
            rest = _other_problems(with_run_date(job, run_date), reading.unread, template=job.output.path)
        raise ConfigError([*reading.problems, *rest], path)
    return reading.job


def resolve(config: JobConfig, origin: str = "job", *, template: str | None = None) -> ResolvedJob:
    """Check a job against its inputs, checkpoints and output; the ConfigError lists every problem.

    `template` is the output's path before its date was filled in: no date's output is an input. A damaged
    input file is an InputError: it is no fault of the configuration.
    """
    checks = Checks()
    job = _check_job(config, checks, template)
    if job is None:
        raise ConfigError(checks.problems, origin)
    return job


def _other_problems(config: JobConfig, unread: frozenset[str], *, template: str) -> list[Problem]:
    """Return the other problems of a job, some fields of which could not be read.

    `template` is as in `resolve`.
    """
    checks = Checks(unread)
    try:
        _check_job(config, checks, template)
    except InputError as damaged:
        checks.add("input.path", str(damaged))
    return checks.problems


def _check_job(config: JobConfig, checks: Checks, template: str | None) -> ResolvedJob | None:
    """Run every check that can run; return the job if there are no problems and no unread fields."""
    pairs = config.input.text_pair is not None
    output = checks.run("output.path", lambda: _output(config.output, checks))
    recorded = {} if output is None else recorded_dtypes(output.url)
    models = [
        check_model(model, f"models[{i}]", checks, pairs=pairs, recorded=recorded.get(i))
        for i, model in enumerate(config.models)
    ]
    own_output = checks.run("output.path", lambda: OwnOutput.of(template or config.output.path))
    listed = list_inputs(config.input, own_output, checks)
    files = listed.files
    second_is_list = any(model is not None and model.needs.second == "list" for model in models)
    spec_input, damaged = _read_input(config.input, files, checks, second_is_list=second_is_list)
    _check_names(config, checks)
    _check_columns(models, config.input.keep if spec_input is None else spec_input.keep, checks)
    _check_pairs(models, config.input, checks)
    if damaged is not None:
        if not checks.problems:
            raise damaged
        checks.add("input.path", str(damaged))
    resolved = [model.resolved for model in models if model is not None and model.resolved is not None]
    if checks.problems or checks.unread or output is None or spec_input is None:
        return None
    spec = PipelineSpec(
        spec_input,
        tuple(model.spec for model in resolved),
        output,
        config.autoscaling.drain_seconds,
    )
    sizing = _sizing(config, resolved)
    splits = plan_splits(files, config.input.format, spec_input, sizing)
    notes = (*listed.notes, *_thread_notes(resolved), *_checkpoint_notes(resolved))
    return ResolvedJob(config, spec, tuple(resolved), tuple(files), splits, sizing, notes)


def _checkpoint_notes(models: Sequence[ResolvedModel]) -> Iterator[str]:
    """Yield the notes about the models' checkpoints."""
    for i, model in enumerate(models):
        yield from (f"models[{i}].checkpoint: {note}" for note in model.notes)


def _thread_notes(models: Sequence[ResolvedModel]) -> Iterator[str]:
    """Yield a note for each model whose workers may not use all their CPUs."""
    for i, model in enumerate(models):
        cpus = model.config.pool.cpus
        if isinstance(cpus, int) and model.spec.device == "cpu" and (threads := compute_threads(cpus)) < cpus:
            yield (
                f"models[{i}].pool.cpus: OMP_THREAD_LIMIT lets each worker use {threads} of its {cpus} CPUs; "
                "raise this limit or lower the field"
            )


def _read_input(
    config: InputConfig, files: list[StoredFile], checks: Checks, *, second_is_list: bool
) -> tuple[InputSpec | None, InputError | None]:
    """Check the columns of the files; also return the error of a file that cannot be read."""
    if not files or not checks.can_read("input.format", "input.schema"):
        return None, None
    before = len(checks.problems)
    given_types = checks.run("input.schema", lambda: _given_types(config, files))
    if len(checks.problems) > before:
        return None, None
    try:
        return _input(
            config, _schemas(config, files, given_types), checks, second_is_list=second_is_list
        ), None
    except InputError as damaged:
        return None, damaged


def _given_types(config: InputConfig, files: list[StoredFile]) -> pa.Schema | None:
    if config.column_types is None:
        return None
    if files and all(format_of(file, config.format) == "parquet" for file in files):
        raise CorpusmillError(
            "gives types to columns of JSONL, but every input file is Parquet, which has types; leave it out"
        )
    return pa.schema([(name, parse_type(kind)) for name, kind in config.column_types.items()])


def _schemas(config: InputConfig, files: list[StoredFile], given_types: pa.Schema | None) -> list[FileSchema]:
    texts = {config.text, config.text_pair}
    schemas = [
        (url, _with_text(schema, texts)) for url, schema in file_schemas(files, config.format, given_types)
    ]
    # A JSONL file without a single line has no columns to check.
    return [named_schema for named_schema in schemas if named_schema[1].names] or schemas


def _with_text(schema: pa.Schema, texts: set[str | None]) -> pa.Schema:
    """Give text columns with mixed values the type of text: rows with other values are rejects."""

    def with_text_type(field: pa.Field) -> pa.Field:
        mixed_types = (field.metadata or {}).get(CONFLICT, b"").decode().split(" and ")
        return pa.field(field.name, pa.string()) if field.name in texts and "string" in mixed_types else field

    return pa.schema([with_text_type(field) for field in schema])


def _input(
    config: InputConfig, schemas: list[FileSchema], checks: Checks, *, second_is_list: bool
) -> InputSpec | None:
    """Find the columns' types; with `lists` the second text column holds lists of texts."""
    keep = kept_columns(config.keep, schemas)
    columns = {
        "input.text": [config.text],
        "input.text_pair": [config.text_pair] if config.text_pair else [],
        "input.keep": list(keep),
    }
    before = len(checks.problems)
    types: dict[str, pa.DataType] = {}
    for where, names in columns.items():
        for name in names:
            check = _CHECKS.get(where if not (second_is_list and where == "input.text_pair") else "lists")
            kind = checks.run(where, partial(_column, name, schemas, where, check))
            if kind is not None:
                types[name] = kind
    if len(checks.problems) > before:
        return None
    schema = pa.schema(list(types.items()))
    return InputSpec(
        config.text, config.text_pair, keep, schema, config.on_bad_row, deduplicate=config.deduplicate
    )


_CHECKS: Mapping[str, Callable[..., None]] = {
    "input.text": check_text,
    "input.text_pair": check_text,
    "lists": check_texts,
}


def _column(
    name: str, schemas: list[FileSchema], where: str, check: Callable[..., None] | None
) -> pa.DataType:
    """Return a column's type, checked for its role."""
    kind = column_type(name, schemas, field=where)
    if check is not None:
        check(name, kind, field=where)
    return kind


def _output(config: OutputConfig, checks: Checks) -> OutputSpec:
    """Return the output, with its format and its folder checked."""
    compression = config.compression or "none"
    checks.run("output.compression", lambda: _check_codec(config.format, compression), ("output.format",))
    if unknown := unknown_placeholder(config.path):
        raise CorpusmillError(f"expected {RUN_DATE} as the only placeholder, got {unknown}").at("output.path")
    url = absolute(config.path)
    if checks.can_read("output.path"):
        _check_output_folder(OutputFolder.of(url, config.format))
    return OutputSpec(url, config.format, None if compression == "none" else compression)


def _check_output_folder(folder: OutputFolder) -> None:
    """Refuse a path that cannot be an output; a store that does not answer is no fault of the job."""
    try:
        check_output_folder(folder)
    except OutputError as error:
        if error.field:
            raise


def _check_codec(output_format: str, compression: str) -> None:
    codecs = SINKS[output_format].codecs
    if compression not in codecs:
        raise CorpusmillError(f"expected one of {', '.join(codecs)} for {output_format}, got {compression!r}")


def _sizing(config: JobConfig, models: list[ResolvedModel]) -> UnitSizing:
    rows_per_unit = config.input.rows_per_unit
    limits = [model.spec.max_length for model in models if model.spec.stride is None]
    longest = max(limits) if len(limits) == len(models) else None
    heaviest = max(float(model.flops_per_token) for model in models)
    batch = max(model.spec.tokens_per_batch for model in models)
    written = sum(model.needs.bytes_per_token for model in models)
    return UnitSizing(None if rows_per_unit == "auto" else rows_per_unit, heaviest, longest, written, batch)


def _check_names(config: JobConfig, checks: Checks) -> None:
    """Require names where several models would write columns of the same names."""
    for i, model in enumerate(config.models):
        if len(config.models) > 1 and model.name is None:
            checks.add(
                f"models[{i}].name",
                "is required when there are several models: it prefixes the output columns",
            )


def _check_columns(models: Sequence[CheckedModel | None], keep: Sequence[str], checks: Checks) -> None:
    """Refuse output columns that would share a name."""
    for name in dict.fromkeys(name for name in keep if keep.count(name) > 1):
        checks.add("input.keep", f"column {name!r} is named more than once; name it once")
    used_columns = dict.fromkeys(keep, "input.keep")
    for i, model in enumerate(models):
        if model is None or (len(models) > 1 and not model.prefix):
            continue
        for column in model.columns:
            if column in used_columns:
                checks.add(
                    f"models[{i}].name",
                    f"output column {column!r} already exists ({used_columns[column]}); "
                    "give the model another name",
                )
            used_columns.setdefault(column, f"models[{i}]")


def _check_pairs(models: Sequence[CheckedModel | None], config: InputConfig, checks: Checks) -> None:
    """Refuse a second text column that no model reads, and its absence where one needs it."""
    checked = [model for model in models if model is not None]
    reading = [model for model in checked if model.needs.second != "none"]
    if config.text_pair and len(checked) == len(models) and not reading:
        tasks = ", ".join(dict.fromkeys(model.task for model in checked))
        checks.add("input.text_pair", f"expected no second text column: {tasks} reads one text per row")
    if config.text_pair and len({model.needs.second == "list" for model in reading}) > 1:
        tasks = " and ".join(dict.fromkeys(model.task for model in reading))
        checks.add(
            "input.text_pair",
            f"{tasks} cannot share a second column: only one reads lists of texts",
        )
    if not config.text_pair:
        for model in checked:
            if model.needs.second in ("required", "list"):
                what = SECOND_COLUMNS.get(model.task, "the second text")
                checks.add("input.text_pair", f"is required by {model.task}: name the column with {what}")
