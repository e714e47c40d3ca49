"""The specification of a resolved job: frozen records that are sent to every worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class InputSpec:
    """The columns to read, and the treatment of rows that cannot be used.

    `schema` has the type of every column that is read: the text columns and the kept ones. `deduplicate`:
    equal texts of a unit are computed once.
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
    """The tokenization for one model, or for several models that share it.

    `folder` is the driver's folder of the tokenizer. A node without it fetches the same digest from `source`,
    the checkpoint's address, in which the tokenizer is in the sub-folder `inside`. `columns` ("text",
    "text_pair") are tokenized, each text after `prompt`, and the first `limit` tokens are kept (None: all).
    `offsets`: the places of the tokens in the text are kept too. `lengths`: so are the lengths of two texts
    that are both cut, as far as needed to know the longer one. `sentence`: the folder is one of
    sentence-transformers, whose settings of the tokenizer count.
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
    sentence: bool = False

    @property
    def key(self) -> str:
        """The name of this tokenization inside a unit's block."""
        prompt = f"-{sha256(self.prompt.encode()).hexdigest()[:8]}" if self.prompt else ""
        return self.digest[:16] + prompt

    def joined(self, other: "TokenizerSpec") -> "TokenizerSpec":
        """Return one tokenization for both, which have the same key."""
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
    """The workers of a model: their number, and the CPU threads and the share of a GPU of each.

    Their number is between `min_workers` and `workers`, depending on the queue. `least_rate` is a rate in
    tokens per second that a worker reaches on any machine. `claimed_cpus` are the CPUs that a worker claims
    from Ray. On one machine it claims none, as workers of several CPUs and tasks of one CPU could block each
    other. On a cluster it claims its CPUs, so that Ray finds or adds a node with so many. A worker computes
    `at_once` work items at once: with a whole GPU the host works on one while the GPU computes another.
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
    """One model of a job: its checkpoint, its task, and the way to compute it.

    `checkpoint` is the driver's folder. A node without that folder fetches the same digest from `source`: a
    URL, or the same folder, which then has to be on shared storage. `prefix` begins the names of its output
    columns; `title` is its name in messages. A sequence has at most `max_length` tokens. A longer text is
    truncated, or cut into windows that share `stride` tokens if `stride` is not None. `ignore_tensors` are
    patterns of names of surplus tensors.
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
    ignore_tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutputSpec:
    """The output folder and the format of its files."""

    url: str
    format: str
    compression: str | None


@dataclass(frozen=True)
class PipelineSpec:
    """A whole job, resolved.

    Pools grow until their queues drain within `drain_seconds`. None: the machine is the job's own, and pools
    grow as long as the job ends sooner.
    """

    input: InputSpec
    models: tuple[ModelSpec, ...]
    output: OutputSpec
    drain_seconds: float | None = None

    @property
    def tokenization(self) -> Tokenization:
        """The tokenization stage: each distinct tokenizer once, for all models that share it."""
        joined: dict[str, TokenizerSpec] = {}
        for model in self.models:
            key = model.tokenizer.key
            joined[key] = joined[key].joined(model.tokenizer) if key in joined else model.tokenizer
        return Tokenization(tuple(joined.values()), self.input.deduplicate)
