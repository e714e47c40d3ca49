"""The job file: its fields, their defaults, and what is wrong with one, all of it at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from corpusmill.jobs.hints import explain
from corpusmill.jobs.pool_config import DevicePoolConfig, Dtype, PoolConfig, TokensPerBatch
from corpusmill.jobs.problems import ConfigError, Problem
from corpusmill.jobs.section import Auto, Section
from corpusmill.jobs.yaml_file import load_yaml
from corpusmill.pipeline.arrow_types import parse_type
from corpusmill.pipeline.readers.parse import check_readable


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_one_or_many)]
"""A list of strings; a single string stands for a list of one."""


Number = Annotated[float, Field(allow_inf_nan=False)] | int
Numbers = Number | list[Number]
"""A number, or one for each dimension."""


class InputConfig(Section):
    """Which files and columns are read."""

    path: Annotated[Names, Field(min_length=1)]
    format: Literal["auto", "parquet", "jsonl"] = "auto"
    text: str
    text_pair: str | None = None
    keep: Names = Field(default_factory=list)
    rows_per_unit: Auto | Annotated[int, Field(ge=1, le=1_000_000)] = "auto"
    on_bad_row: Literal["reject", "fail"] = "reject"
    deduplicate: bool = True
    column_types: Annotated[dict[str, str] | None, Field(alias="schema")] = None

    @field_validator("column_types")
    @classmethod
    def _types_are_known(cls, types: dict[str, str] | None) -> dict[str, str] | None:
        for kind in (types or {}).values():
            check_readable(parse_type(kind))
        return types


class ModelConfig(Section):
    """One model and what it computes."""

    checkpoint: str
    task: str | None = None
    name: Annotated[str | None, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")] = None
    dtype: Dtype = "auto"
    allow_int8: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_length: Auto | Annotated[int, Field(ge=3)] = "auto"
    long_text: Literal["truncate", "window"] = "truncate"
    stride: Annotated[int, Field(ge=0)] = 128
    tokens_per_batch: TokensPerBatch = "auto"
    pool: PoolConfig = PoolConfig()
    pools: Annotated[list[DevicePoolConfig], Field(min_length=1)] | None = None
    top_k: Annotated[int | None, Field(ge=1)] = None
    threshold: Annotated[float, Field(ge=0, le=1)] | Annotated[int, Field(ge=0, le=1)] | None = None
    combine: Literal["mean", "max", "first"] | None = None
    pooling: Literal["cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken", "pooler"] | None = (
        None
    )
    normalize: bool | None = None
    dimensions: Annotated[int | None, Field(ge=1)] = None
    output_dtype: Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"] | None = None
    calibration: Annotated[list[Numbers], Field(min_length=2, max_length=2)] | None = None
    prompt: str | None = None
    layer: int | None = None
    aggregation: Literal["none", "simple", "first", "average", "max"] | None = None
    ignore_labels: Names | None = None
    questions: Annotated[Names, Field(min_length=1)] | None = None
    max_answer_length: Annotated[int | None, Field(ge=1)] = None
    handle_impossible_answer: bool | None = None
    candidate_labels: Annotated[Names, Field(min_length=1)] | None = None
    hypothesis_template: str | None = None
    multi_label: bool | None = None

    @model_validator(mode="after")
    def _pools_are_said_once(self) -> "ModelConfig":
        both = sorted({"pool", "device"} & self.model_fields_set) if self.pools is not None else []
        if both:
            raise ValueError(
                f"expected pools alone, got {' and '.join(both)} too; each entry of pools has its own device "
                f"and bounds: move {' and '.join(both)} there, or leave pools out"
            )
        return self


class OutputConfig(Section):
    """Where results go."""

    path: Annotated[str, Field(min_length=1)]
    format: Literal["arrow", "parquet"] = "arrow"
    compression: str | None = "zstd"


class AutoscalingConfig(Section):
    """How fast a queue should drain: pools grow until what waits is done in so many seconds."""

    target_drain_seconds: Annotated[float, Field(gt=0)] | Annotated[int, Field(gt=0)] = 60


class JobConfig(Section):
    """A whole job."""

    name: Annotated[str, Field(min_length=1)]
    input: InputConfig
    models: Annotated[list[ModelConfig], Field(min_length=1)]
    output: OutputConfig
    autoscaling: AutoscalingConfig = AutoscalingConfig()

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> "JobConfig":
        """Load a job file, with `a.b=c` settings laid over it; ConfigError lists every problem."""
        origin = str(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError([Problem("", "no such job file")], origin) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([Problem("", f"cannot be read ({error})")], origin) from None
        return cls.from_dict(_override(_load(text, origin), overrides, origin), origin)

    @classmethod
    def from_dict(cls, fields: dict[str, Any], origin: str = "job") -> "JobConfig":
        """Check a job given as a dictionary; ConfigError lists every problem."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(explain(error, cls), origin) from None

    def to_yaml(self) -> str:
        """Write the job as a file that loads to the same job."""
        fields = self.model_dump(by_alias=True)
        fields["models"] = [
            _given(written, model) for written, model in zip(fields["models"], self.models, strict=True)
        ]
        return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def _given(written: dict[str, Any], model: ModelConfig) -> dict[str, Any]:
    """Leave out what was not given: to write its null, or pool beside pools, would be to give it."""
    unused = {"pool", "device"} if model.pools is not None else set()
    kept = {
        name: value
        for name, value in written.items()
        if name not in unused and (value is not None or name in model.model_fields_set)
    }
    if model.pools is not None:
        kept["pools"] = [{k: v for k, v in pool.items() if v is not None} for pool in written["pools"]]
    return kept


def _load(text: str, origin: str) -> dict[str, Any]:
    try:
        fields = load_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        place = f"line {where.line + 1}, column {where.column + 1}: " if where else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError([Problem("", f"{place}expected YAML, got an error: {problem}")], origin) from None
    if not isinstance(fields, dict):
        got = "nothing" if fields is None else type(fields).__name__
        raise ConfigError(
            [Problem("", f"expected a mapping with the keys name, input, models, output; got {got}")], origin
        )
    return fields


def _override(fields: dict[str, Any], overrides: Sequence[str], origin: str) -> dict[str, Any]:
    problems = []
    for setting in overrides:
        path, equals, value = setting.partition("=")
        if not equals:
            problems.append(Problem(f"--set {setting}", "expected a.b=c, got no ="))
            continue
        try:
            _set(fields, path.replace("[", ".").replace("]", "").split("."), yaml.safe_load(value))
        except (IndexError, ValueError, yaml.YAMLError) as error:
            reason = getattr(error, "problem", None) or error
            problems.append(
                Problem(
                    f"--set {setting}",
                    f"cannot be applied ({reason}); expected a path such as models.0.dtype=bfloat16",
                )
            )
    if problems:
        raise ConfigError(problems, origin)
    return fields


def _set(node: Any, path: list[str], value: Any) -> None:
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if not isinstance(node, (dict, list)):
            raise ValueError(  # noqa: TRY004  a fault of the setting, as the others here
                f"{'.'.join(path[:depth])} holds {node!r:.40}, which has no parts"
            )
        place: Any = int(key) if isinstance(node, list) else key
        if last:
            node[place] = value
        elif isinstance(node, dict) and node.get(place) is None:
            node[place] = {}
        node = node[place]
