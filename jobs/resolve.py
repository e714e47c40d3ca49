"""A job's configuration, checked against its inputs and checkpoints, becomes what the pipeline runs.

Everything that can be known before the first row is read is checked here, and all problems are said at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from corpusmill.jobs.config import InputConfig, JobConfig, OutputConfig
from corpusmill.jobs.models import ResolvedModel, resolve_model
from corpusmill.jobs.problems import ConfigError, Problem
from corpusmill.models import ModelError
from corpusmill.pipeline.arrow_types import parse_type
from corpusmill.pipeline.errors import CorpusmillError
from corpusmill.pipeline.listing import file_format, list_files
from corpusmill.pipeline.planning import file_schemas, plan_splits
from corpusmill.pipeline.schema import FileSchema, check_text, column_type, kept_columns
from corpusmill.pipeline.sinks import SINKS
from corpusmill.pipeline.sizing import UnitSizing
from corpusmill.pipeline.spec import InputSpec, OutputSpec, PipelineSpec
from corpusmill.pipeline.storage import StoredFile, absolute
from corpusmill.pipeline.units import Split

T = TypeVar("T")


@dataclass(frozen=True)
class ResolvedJob:
    """A job ready to run: the pipeline's own description, and the input cut into splits."""

    config: JobConfig
    spec: PipelineSpec
    models: tuple[ResolvedModel, ...]
    files: tuple[StoredFile, ...]
    splits: tuple[Split, ...]
    sizing: UnitSizing


@dataclass
class Checks:
    """Collects problems; a check that fails gives None, so that the others still run."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, where: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(where, message))

    @contextmanager
    def noting(self, where: str) -> Iterator[None]:
        """Note what the block raises for the user's eyes under its own field, else under `where`."""
        try:
            yield
        except ModelError as error:
            self.add(where, str(error))
        except CorpusmillError as error:
            self.add(error.field or where, str(error))

    def run(self, where: str, check: Callable[[], T]) -> T | None:
        """Return what a check gives, or note why it fails."""
        with self.noting(where):
            return check()
        return None


def resolve(config: JobConfig, origin: str = "job") -> ResolvedJob:
    """Check a job against the world; ConfigError lists every problem.

    An input file that is damaged is an InputError of its own: it is no fault of the configuration.
    """
    checks = Checks()
    models = [checks.run(f"models[{i}].checkpoint", lambda i=i, model=model: resolve_model(model, f"models[{i}]"))  # type: ignore[misc]
              for i, model in enumerate(config.models)]
    output = checks.run("output.path", lambda: _output(config.output))
    files = checks.run("input.path", lambda: _files(config.input))
    schemas = _schemas(config.input, files) if files else None
    spec_input = _input(config.input, schemas, checks) if schemas else None
    found = [model for model in models if model is not None]
    _check_prefixes(found, spec_input, checks)
    _check_pairs(found, spec_input, checks)
    if checks.problems or files is None or spec_input is None or output is None:
        raise ConfigError(checks.problems, origin)
    spec = PipelineSpec(spec_input, tuple(model.spec for model in found), output)
    sizing = _sizing(config, found)
    splits = plan_splits(files, config.input.format, spec_input, sizing)
    return ResolvedJob(config, spec, tuple(found), tuple(files), splits, sizing)


def _files(config: InputConfig) -> list[StoredFile]:
    files = list_files(config.path)
    if config.format == "auto":
        for file in files:
            file_format(file.url)
    return files


def _schemas(config: InputConfig, files: list[StoredFile]) -> list[FileSchema]:
    given = None
    if config.column_types:
        given = pa.schema([(name, parse_type(kind)) for name, kind in config.column_types.items()])
    schemas = file_schemas(files, config.format, given)
    # A JSONL file without a single line has no columns to check.
    return [found for found in schemas if found[1].names] or schemas


def _input(config: InputConfig, schemas: list[FileSchema], checks: Checks) -> InputSpec | None:
    keep = kept_columns(config.keep, schemas)
    wanted = {"input.text": [config.text], "input.text_pair": [config.text_pair] if config.text_pair else [], "input.keep": list(keep)}
    types: dict[str, pa.DataType] = {}
    for where, names in wanted.items():
        for name in names:
            kind = checks.run(where, lambda name=name, where=where: column_type(name, schemas, field=where))  # type: ignore[misc]
            if kind is not None:
                types[name] = kind
                if where != "input.keep":
                    checks.run(where, lambda name=name, kind=kind, where=where: check_text(name, kind, field=where))  # type: ignore[misc]
    if checks.problems:
        return None
    return InputSpec(config.text, config.text_pair, keep, pa.schema(list(types.items())), config.on_bad_row)


def _output(config: OutputConfig) -> OutputSpec:
    codecs = SINKS[config.format].codecs
    compression = config.compression or "none"
    if compression not in codecs:
        raise CorpusmillError(f"expected one of {', '.join(codecs)} for {config.format}, got {compression!r}").at("output.compression")
    return OutputSpec(absolute(config.path), config.format, None if compression == "none" else compression)


def _sizing(config: JobConfig, models: list[ResolvedModel]) -> UnitSizing:
    asked = config.input.rows_per_unit
    longest = max(model.spec.tokenizer.max_length for model in models)
    heaviest = max(float(model.flops_per_token) for model in models)
    return UnitSizing(None if asked == "auto" else asked, heaviest, longest)


def _check_prefixes(models: list[ResolvedModel], spec: InputSpec | None, checks: Checks) -> None:
    """Refuse output columns that would share a name."""
    if len(models) > 1:
        for i, model in enumerate(models):
            if not model.spec.prefix:
                checks.add(f"models[{i}].name", "is required when there are several models: it prefixes the output columns")
    taken: dict[str, str] = {name: "input.keep" for name in (spec.keep if spec else ())}
    for i, model in enumerate(models):
        for column in model.columns:
            if column in taken:
                checks.add(f"models[{i}].name", f"output column {column!r} is already there ({taken[column]}); give the model another name")
            taken.setdefault(column, f"models[{i}]")


def _check_pairs(models: list[ResolvedModel], spec: InputSpec | None, checks: Checks) -> None:
    """Refuse pairs for a task that takes single texts."""
    for i, model in enumerate(models):
        if spec and spec.text_pair and model.spec.task == "embedding":
            checks.add(f"models[{i}].task", "embedding takes one text a row; expected no input.text_pair")

