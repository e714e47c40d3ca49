"""What a job asks of the pipeline, resolved: plain frozen records that travel to every worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class InputSpec:
    """Which columns are read, and what happens to a row that cannot be used.

    `schema` holds the type of every column read: the text columns and the kept ones.
    """

    text: str
    text_pair: str | None
    keep: tuple[str, ...]
    schema: pa.Schema
    on_bad_row: str = "reject"

    @property
    def columns(self) -> list[str]:
        """The columns to read, each once."""
        return list(dict.fromkeys((*self.keep, *self.text_columns)))

    @property
    def read_schema(self) -> pa.Schema:
        """The types of `columns`, in that order."""
        return pa.schema([self.schema.field(name) for name in self.columns])

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text column, and the second one of sentence pairs."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)


@dataclass(frozen=True)
class TokenizerSpec:
    """One distinct tokenization: a checkpoint's tokenizer, cut at `max_length` tokens.

    `folder` is where the driver has it. A node without that folder fetches the same digest from `source`,
    the checkpoint's address, where it lies in the sub-folder `inside`.
    """

    folder: str
    max_length: int
    digest: str
    source: str
    inside: str = "."

    @property
    def key(self) -> str:
        """The name of this tokenization inside a unit's block."""
        return f"{self.digest[:16]}-{self.max_length}"


@dataclass(frozen=True)
class PoolSpec:
    """How many workers serve a model, and what each holds: CPU threads and a share of a GPU."""

    workers: int
    cpus: int
    gpus: float = 0.0


@dataclass(frozen=True)
class ModelSpec:
    """One model of a job: a checkpoint, what to compute with it, and how.

    `checkpoint` is the folder where the driver has it. A node without that folder fetches the same digest
    from `source`: a URL, or the folder again, which then has to be on shared storage. `prefix` goes before
    its output columns; `title` is what people read.
    """

    title: str
    prefix: str
    checkpoint: str
    source: str
    digest: str
    task: str
    dtype: str
    device: str
    tokens_per_batch: int
    tokenizer: TokenizerSpec
    pool: PoolSpec
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputSpec:
    """Where results go and in which format."""

    url: str
    format: str
    compression: str | None


@dataclass(frozen=True)
class PipelineSpec:
    """A whole job, resolved."""

    input: InputSpec
    models: tuple[ModelSpec, ...]
    output: OutputSpec

    @property
    def tokenizers(self) -> tuple[TokenizerSpec, ...]:
        """The distinct tokenizations that the models need."""
        return tuple({model.tokenizer.key: model.tokenizer for model in self.models}.values())
