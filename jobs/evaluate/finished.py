"""Reading of a finished output for an evaluation: its models, and some columns of one file at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpusmill.jobs.driver.fingerprint import open_output
from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.resolve.dtype import FINGERPRINT
from corpusmill.jobs.verify.manifest import read_manifest
from corpusmill.pipeline.errors import OutputError, first_line
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.sinks import SINKS


@dataclass(frozen=True)
class FinishedModel:
    """One model of the job that wrote an output; `name` is empty if it has none."""

    name: str
    prefix: str
    task: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class FinishedOutput:
    """A finished output. `units` are in the manifest's order.

    `kept` are the columns of the input that it has; `text` is the text column, kept or not.
    """

    folder: OutputFolder
    models: tuple[FinishedModel, ...]
    kept: tuple[str, ...]
    schema: pa.Schema
    units: tuple[str, ...]
    text: str

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield these columns of each data file."""
        wanted = list(dict.fromkeys(columns))
        return (_read(self.folder, unit, wanted) for unit in self.units)


def open_finished(url: str) -> FinishedOutput:
    """Open an output; raise OutputError if it is unfinished or has no data files."""
    folder, job = open_output(url)
    if not folder.exists(folder.manifest):
        raise OutputError(
            f"{folder.url}: expected a finished output, found no _manifest.parquet; finish the job with "
            "`corpusmill run`"
        )
    problems: list[str] = []
    manifest = read_manifest(folder, problems)
    if problems or manifest is None:
        raise OutputError(f"{folder.url}: {'; '.join(problems)}; see `corpusmill verify`")
    if not manifest.num_rows:
        raise OutputError(f"{folder.url}: expected data files, got a manifest that names none")
    units = tuple(manifest["unit"].to_pylist())
    schema = _read_with_sink(folder, units[0], lambda sink, stream: sink.schema(stream))
    return FinishedOutput(
        folder, _models(folder, job), tuple(job["input.keep"]), schema, units, job["input.text"]
    )


def _models(folder: OutputFolder, job: Mapping[str, Any]) -> tuple[FinishedModel, ...]:
    try:
        return tuple(
            FinishedModel(
                name=job[f"models[{i}].name"].removesuffix("_"),
                prefix=job[f"models[{i}].name"],
                task=job[f"models[{i}].task"],
                options=job[f"models[{i}].options"],
            )
            for i in range(job["models"])
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{folder.job(FINGERPRINT)}: expected the models of the output's job, got a file without "
            f"{error}; restore the file"
        ) from None


def _read(folder: OutputFolder, unit: str, columns: list[str]) -> pa.Table:
    table: pa.Table = _read_with_sink(folder, unit, lambda sink, stream: sink.read(stream, columns))
    return table


def _read_with_sink(folder: OutputFolder, unit: str, read: Any) -> Any:
    sink = next(sink for sink in SINKS.values() if sink.suffix == folder.suffix)
    try:
        with folder.open(folder.data(unit)) as stream:
            return read(sink, stream)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OutputError(
            f"{folder.data(unit)}: cannot be read ({first_line(error)}); see `corpusmill verify`"
        ) from None


def choose_model(models: Sequence[FinishedModel], name: str | None) -> FinishedModel:
    """Return the model of that name, or the only one."""
    names = ", ".join(model.name for model in models)
    if name is None and len(models) == 1:
        return models[0]
    if name is None:
        raise EvaluateError(f"expected the name of one of the output's models: {names}").at("--model")
    for model in models:
        if model.name == name:
            return model
    known = names or "one without a name; leave --model out"
    raise EvaluateError(f"expected a model of the output ({known}), got {name!r}").at("--model")
