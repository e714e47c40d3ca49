"""What a job asks of the pipeline, resolved: plain frozen records that travel to every worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class InputSpec:
    """Which columns are read, and what happens to a row that cannot be used.

    `schema` holds the type of every column read: the text columns and the kept ones. `deduplicate`: equal
    texts of a unit are computed once.
    """

    text: str
    text_pair: str | None
    keep: tuple[str, ...]
    schema: pa.Schema
    on_bad_row: str = "reject"
    deduplicate: bool = True

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
    """What a model asks of a tokenizer, or several models that share it.

    `folder` is where the driver has it. A node without that folder fetches the same digest from `source`,
    the checkpoint's address, where it lies in the sub-folder `inside`. Of each text of `columns` ("text",
    "text_pair"), with `prompt` before it, the first `limit` tokens are kept (None: all), where each is in the
    text if `offsets`, and if `lengths` which is longer of two texts that are both cut.
    """

    folder: str
    digest: str
    source: str
    inside: str = "."
    prompt: str = ""
    columns: tuple[str, ...] = ("text",)
    limit: int | None = None
    offsets: bool = False
    lengths: bool = False

    @property
    def key(self) -> str:
        """The name of this tokenization inside a unit's block."""
        prompt = f"-{sha256(self.prompt.encode()).hexdigest()[:8]}" if self.prompt else ""
        return self.digest[:16] + prompt

    def joined(self, other: "TokenizerSpec") -> "TokenizerSpec":
        """Return one tokenization that serves both, which have the same key."""
        unlimited = self.limit is None or other.limit is None
        return replace(
            self,
            columns=tuple(dict.fromkeys((*self.columns, *other.columns))),
            limit=None if unlimited else max(self.limit or 0, other.limit or 0),
            offsets=self.offsets or other.offsets,
            lengths=self.lengths or other.lengths,
        )


@dataclass(frozen=True)
class Tokenization:
    """The tokenization stage of a job: each distinct tokenizer once."""

    tokenizers: tuple[TokenizerSpec, ...]
    deduplicate: bool


@dataclass(frozen=True)
class PoolSpec:
    """How many workers serve a model, and what each holds: CPU threads and a share of a GPU.

    There are `min_workers` to `workers` of them, as the queue asks. `least_rate` is a number of tokens per
    second that a worker does on any machine, however slow. `claimed_cpus` are those that Ray counts: none on
    one machine, where whole CPUs beside one-CPU tasks deadlock, a worker's own on a cluster, which then
    gives it a node with as many, or gets one. A worker is at `at_once` pieces of units at once: with a GPU of
    its own the host's work on one goes on while the GPU computes another.
    """

    workers: int
    cpus: int
    gpus: float = 0.0
    least_rate: float = 1.0
    min_workers: int = 1
    claimed_cpus: int = 0
    at_once: int = 1


@dataclass(frozen=True)
class ModelSpec:
    """One model of a job: a checkpoint, what to compute with it, and how.

    `checkpoint` is the folder where the driver has it. A node without that folder fetches the same digest
    from `source`: a URL, or the folder again, which then has to be on shared storage. `prefix` goes before
    its output columns; `title` is what people read. A sequence has at most `max_length` tokens; longer texts
    are cut there, or into windows that share `stride` tokens, if that is not None.
    """

    title: str
    prefix: str
    checkpoint: str
    source: str
    digest: str
    task: str
    dtype: str
    device: str
    max_length: int
    stride: int | None
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
    """A whole job, resolved.

    Pools grow until what waits is done in `drain_seconds`. None: the machine is the job's own, and they grow
    as long as that ends the job sooner.
    """

    input: InputSpec
    models: tuple[ModelSpec, ...]
    output: OutputSpec
    drain_seconds: float | None = None

    @property
    def tokenization(self) -> Tokenization:
        """What the tokenization stage does: each distinct tokenizer once, for all models that share it."""
        joined: dict[str, TokenizerSpec] = {}
        for model in self.models:
            key = model.tokenizer.key
            joined[key] = joined[key].joined(model.tokenizer) if key in joined else model.tokenizer
        return Tokenization(tuple(joined.values()), self.input.deduplicate)
