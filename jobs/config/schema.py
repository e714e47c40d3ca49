"""The job file: its fields and their defaults; a file is read with all its problems at once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from corpusmill.jobs.config.explain import field_path
from corpusmill.jobs.config.validation import Reading, read_fields
from corpusmill.jobs.errors import ConfigError, Problem
from corpusmill.pipeline.errors import first_line
from corpusmill.pipeline.input.arrow_types import parse_type
from corpusmill.pipeline.input.readers.parse import check_readable

Auto = Literal["auto"]

MERGE_TAG = "tag:yaml.org,2002:merge"


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _split_at_commas(value: Any) -> Any:
    """Split a string of labels as the zero-shot pipeline of transformers does."""
    if not isinstance(value, str):
        return value
    return [label.strip() for label in value.split(",") if label.strip()]


Names = Annotated[list[str], BeforeValidator(_one_or_many)]
"""A list of strings; a single string stands for a list of one."""

Labels = Annotated[list[str], BeforeValidator(_split_at_commas)]
"""A list of strings, or one string with commas between them."""

Number = Annotated[float, Field(allow_inf_nan=False)] | int
Numbers = Number | list[Number]
"""A number, or one for each dimension."""

# The rules of all parts of the job file.


class Section(BaseModel):
    """A part of the job file: unknown keys are errors, and values are not converted between types.

    The text below a field is its description: docs/job-file.md and `corpusmill init` print it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class InputConfig(Section):
    """The files and columns to read."""

    path: Annotated[Names, Field(min_length=1)]
    """Files to read: a file, a folder, a glob, or a list of these. Local, `s3://`, `hf://`, or another fsspec
    URL.
    """
    format: Literal["auto", "parquet", "jsonl"] = "auto"
    """Format of the files. `auto` takes it from their names: `.parquet`, `.pq`, `.jsonl`, `.ndjson`, `.json`;
    JSONL also with `.gz`, `.zst`, `.bz2`, `.xz`.
    """
    text: str
    """Column with the text."""
    text_pair: str | None = None
    """Second column, for tasks that read pairs: the question for question-answering, the passage for
    reranking, the second text for pair classification, lists of choices for multiple-choice.
    """
    keep: Names = Field(default_factory=list)
    """Columns to copy to the output, in this order, with their types. `"*"` copies all."""
    rows_per_unit: Auto | Annotated[int, Field(ge=1, le=1_000_000)] = "auto"
    """Rows that are read, encoded and committed together. `auto` follows the size of the texts and the cost
    of the models.
    """
    on_bad_row: Literal["reject", "fail"] = "reject"
    """What happens to a row that cannot be used: `reject` sets it aside with its reason, `fail` ends the
    job.
    """
    stop_if_all_rejected: bool = True
    """Stop a run whose first units have only rejects, all for one reason: at least 3 units and 16 rows. Set
    `false` if such an input is right.
    """
    deduplicate: bool = True
    """Compute equal texts of a unit once. The results are the same."""
    column_types: Annotated[dict[str, str] | None, Field(alias="schema")] = None
    """Types of JSONL columns: `{column: Arrow type}`, such as `{id: int64}`. Other types are inferred from a
    sample of every file.
    """

    @field_validator("column_types")
    @classmethod
    def _types_are_known(cls, types: dict[str, str] | None) -> dict[str, str] | None:
        for kind in (types or {}).values():
            check_readable(parse_type(kind))
        return types


class PoolConfig(Section):
    """The number of workers of a model, and the resources of each."""

    min_workers: Annotated[int, Field(ge=0)] = 1
    """Least number of workers. With 0 the pool starts without any."""
    max_workers: Auto | Annotated[int, Field(ge=1)] = "auto"
    """Most workers. `auto` follows the machine or the cluster."""
    cpus: Auto | Annotated[int, Field(ge=1)] = "auto"
    """CPU threads of one worker. `auto` is 1 for a model on CPUs."""
    gpus: Auto | Annotated[float, Field(ge=0)] | Annotated[int, Field(ge=0)] = "auto"
    """GPUs of one worker; 0.25 places four workers on one GPU. `auto` shares the GPUs among the models."""

    @field_validator("gpus")
    @classmethod
    def _several_gpus_are_whole(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"expected a part of a GPU, or a whole number of them, got {gpus:g}")
        return gpus

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "PoolConfig":
        if self.max_workers != "auto" and self.min_workers > self.max_workers:
            raise ValueError(
                f"expected min_workers at most max_workers, got {self.min_workers} and {self.max_workers}"
            )
        return self


class ModelConfig(Section):
    """One model, its task and its options."""

    checkpoint: str
    """Checkpoint to load: a folder in Hugging Face layout, `hf://org/name[@revision]`, `s3://`, or another
    fsspec URL.
    """
    task: str | None = None
    """What to compute ([all tasks](tasks.md)). Default: what the checkpoint was made for."""
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")] = None
    """Prefix of the model's output columns: letters, digits and underscores. Required when there are several
    models.
    """
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    """Precision of the computation. `auto` takes fewer bits where this machine computes faster with them.
    `float16` needs a GPU, `int8` a CPU with VNNI instructions.
    """
    allow_int8: bool = False
    """Let `dtype: auto` also choose `int8`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs. `auto` takes a GPU if there is one."""
    max_length: Auto | Annotated[int, Field(ge=3)] = "auto"
    """Longest sequence in tokens, special tokens included. `auto` takes the checkpoint's own limit."""
    long_text: Literal["truncate", "window"] = "truncate"
    """What happens to a longer text: `truncate` reads its beginning, `window` reads all of it in windows that
    overlap.
    """
    stride: Annotated[int, Field(ge=0)] = 128
    """Tokens that neighbouring windows share."""
    tokens_per_batch: Auto | Annotated[int, Field(ge=1)] = "auto"
    """Tokens of one pass through the model. `auto` is 2,048 on a CPU and 65,536 on a GPU."""
    pool: PoolConfig = PoolConfig()
    """Workers that hold the model."""
    ignore_tensors: Names = Field(default_factory=list)
    """Names of tensors to leave out that the model does not have, such as `linear.*`. `*` stands for any
    characters. Tensors that only training uses are left out anyway.
    """
    top_k: Annotated[int | None, Field(ge=1)] = None
    """Number of labels, answers or tokens to list. `null` lists all labels. Default of sparse-embedding: the
    checkpoint's `max_active_dims`, else all.
    """
    threshold: Annotated[float, Field(ge=0, le=1)] | Annotated[int, Field(ge=0, le=1)] | None = None
    """Least score of a label that is listed."""
    function_to_apply: Literal["none", "sigmoid", "softmax"] | None = None
    """Function from the model's outputs to scores; `none` writes raw scores. Default: the activation that
    the checkpoint states, else as in transformers' pipeline; reranking: else `none`.
    """
    combine: Literal["mean", "max", "first"] | None = None
    """How vectors and class scores of windows are combined. Default: `mean`, weighted with the windows'
    lengths; reranking: `max`.
    """
    pooling: Literal["cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken", "pooler"] | None = (
        None
    )
    """How token vectors become one vector. Default: the checkpoint's own pooling, else `mean`."""
    normalize: bool | None = None
    """Scale vectors to length 1. Default: as the checkpoint says, else `false`."""
    dimensions: Annotated[int | None, Field(ge=1)] = None
    """Number of leading dimensions of each vector to keep. Default: the checkpoint's `truncate_dim`, else
    all.
    """
    output_dtype: Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"] | None = None
    """Type of the numbers that are written. `binary` and `ubinary` pack eight signs into a byte."""
    calibration: Annotated[list[Numbers], Field(min_length=2, max_length=2)] | None = None
    """`[low, high]`: the range that `int8` and `uint8` stand for. Each is a number, or one number per
    dimension.
    """
    prompt: str | None = None
    """Text to put before each text, or the first of a pair. Default: the checkpoint's own prompt."""
    route: str | None = None
    """Route of a checkpoint with sentence-transformers' Router, such as `query`. Default: the route for
    documents.
    """
    layer: int | None = None
    """Layer whose token vectors are used. 0 is the embedding layer, -1 the last layer."""
    aggregation: Literal["none", "simple", "first", "average", "max"] | None = None
    """How tokens become spans, as in transformers' pipeline. `none` writes one span per token."""
    ignore_labels: Names | None = None
    """Labels that make no span."""
    questions: Annotated[Names, Field(min_length=1)] | None = None
    """Questions to ask of each text, in place of a column `input.text_pair`."""
    max_answer_length: Annotated[int | None, Field(ge=1)] = None
    """Longest answer in tokens."""
    handle_impossible_answer: bool | None = None
    """Let "no answer" compete with the answers."""
    candidate_labels: Annotated[Labels, Field(min_length=1)] | None = None
    """Labels to choose from: a list, or a string such as `sports, news`, which is split at commas. Required
    by zero-shot-classification.
    """
    hypothesis_template: str | None = None
    """Sentence that is tested for each label; `{}` stands for the label."""
    multi_label: bool | None = None
    """Score each label by itself. Otherwise the scores of all labels sum to 1."""


class OutputConfig(Section):
    """The folder and the format of the results."""

    path: Annotated[str, Field(min_length=1)]
    """Folder to write: local, `s3://`, or another fsspec URL. `{run_date}` stands for the date of the run."""
    format: Literal["arrow", "parquet"] = "arrow"
    """Format of the data files: Arrow IPC or Parquet."""
    compression: str | None = "zstd"
    """`zstd`, `lz4` or `none` for Arrow; Parquet also takes `snappy`, `gzip` and `brotli`."""


class AutoscalingConfig(Section):
    """The growth of pools: by a drain time, or on your own machine as long as it shortens the job."""

    target_drain_seconds: Auto | Annotated[float, Field(gt=0)] | Annotated[int, Field(gt=0)] = "auto"
    """Seconds in which a pool should finish the texts that wait for its model; the pool grows accordingly.

    `auto` means 60 on a cluster that is joined with `--address`. Without `--address`, `auto` means that pools
    grow to all usable CPUs as long as one more worker shortens the job by more than its start takes. A number
    means that number everywhere.
    """

    @property
    def drain_seconds(self) -> float | None:
        """The drain time of the job; None for `auto`."""
        return None if self.target_drain_seconds == "auto" else float(self.target_drain_seconds)


class JobConfig(Section):
    """A whole job."""

    name: Annotated[str, Field(min_length=1)]
    """Name of the job."""
    input: InputConfig
    """Files and columns to read."""
    models: Annotated[list[ModelConfig], Field(min_length=1)]
    """Models to run, each on every row."""
    output: OutputConfig
    """Where the results go."""
    autoscaling: AutoscalingConfig = AutoscalingConfig()
    """How pools grow and shrink."""

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> "JobConfig":
        """Load a job file, with `a.b=c` settings applied; the ConfigError lists every problem."""
        return _job_or_error(read_job_file(path, overrides), str(path))

    @classmethod
    def from_dict(cls, fields: dict[str, Any], origin: str = "job") -> "JobConfig":
        """Return a job from a dictionary; the ConfigError lists every problem."""
        return _job_or_error(read_fields(fields, cls), origin)

    def to_yaml(self) -> str:
        """Return the text of a job file that loads to the same job."""
        fields = self.model_dump(by_alias=True)
        fields["models"] = [
            _without_unset(written, model)
            for written, model in zip(fields["models"], self.models, strict=True)
        ]
        return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def _without_unset(written: dict[str, Any], model: ModelConfig) -> dict[str, Any]:
    """Leave out unset fields: a written null would set them."""
    return {
        name: value for name, value in written.items() if value is not None or name in model.model_fields_set
    }


def _job_or_error(reading: Reading[JobConfig], origin: str) -> JobConfig:
    if reading.problems or reading.job is None:
        raise ConfigError(list(reading.problems), origin)
    return reading.job


def read_job_file(path: str | Path, overrides: Sequence[str] = ()) -> Reading[JobConfig]:
    """Read a job file with settings applied; only a file that is no YAML mapping is a ConfigError."""
    origin = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem("", "no such job file")], origin) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("", f"cannot be read ({error})")], origin) from None
    fields = _load(text, origin)
    repeated = [Problem(field_path(where), message) for where, message in repeated_keys(text)]
    problems, settings = _override(fields, overrides)
    reading = read_fields(fields, JobConfig, unread={*(problem.field for problem in repeated), *settings})
    return replace(reading, problems=(*repeated, *problems, *reading.problems))


def _load(text: str, origin: str) -> dict[str, Any]:
    try:
        fields = load_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        place = f"line {where.line + 1}, column {where.column + 1}: " if where else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise ConfigError([Problem("", f"{place}expected YAML, got an error: {problem}")], origin) from None
    if not isinstance(fields, dict):
        got = "nothing" if fields is None else type(fields).__name__
        raise ConfigError(
            [Problem("", f"expected a mapping with the keys name, input, models, output; got {got}")], origin
        )
    return fields


def _override(fields: dict[str, Any], overrides: Sequence[str]) -> tuple[list[Problem], set[str]]:
    """Apply settings to the fields; return the problems of settings, and the fields that these name."""
    problems, named = [], set()
    for setting in overrides:
        path, equals, value = setting.partition("=")
        parts = path.replace("[", ".").replace("]", "").split(".")
        if not equals:
            problems.append(Problem(f"--set {setting}", "expected a.b=c, got no ="))
            continue
        try:
            _set(fields, parts, yaml.safe_load(value))
        except (IndexError, ValueError, yaml.YAMLError) as error:
            reason = getattr(error, "problem", None) or error
            words = f"cannot be applied ({reason}); expected a path such as models.0.dtype=bfloat16"
            problems.append(Problem(f"--set {setting}", words))
            named.add(field_path(tuple(int(part) if part.isdecimal() else part for part in parts)))
    return problems, named


def _set(node: Any, path: list[str], value: Any) -> None:
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if not isinstance(node, (dict, list)):
            raise ValueError(  # noqa: TRY004  a fault of the setting, as the others here
                f"{'.'.join(path[:depth])} holds {node!r:.40}, which has no fields"
            )
        place: Any = int(key) if isinstance(node, list) else key
        if last:
            node[place] = value
        elif isinstance(node, dict) and node.get(place) is None:
            node[place] = {}
        node = node[place]


# YAML with plain values only; repeated keys are reported.


def load_yaml(text: str) -> Any:
    """Load a document; a fault of it is a yaml.YAMLError, RecursionError or ValueError."""
    return yaml.safe_load(text)


def repeated_keys(text: str) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield the location of each repeated key of a mapping, and the message about it.

    YAML forbids repeated keys, but its loader takes the last value without an error.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    if root is not None:
        yield from _repeated(root, (), set())


def _repeated(
    node: yaml.Node, path: tuple[int | str, ...], seen: set[int]
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    if id(node) in seen:
        return  # an alias
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _repeated(item, (*path, i), seen)
    elif isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE_TAG:
                if key.value in keys:
                    line, column = key.start_mark.line + 1, key.start_mark.column + 1
                    words = f"line {line}, column {column}: the key {key.value!r} is given twice; remove one"
                    yield (*path, key.value), words
                keys.add(key.value)
            yield from _repeated(value, (*path, str(getattr(key, "value", ""))), seen)
