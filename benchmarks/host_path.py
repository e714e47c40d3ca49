"""Microseconds of host time a document, stage by stage, in front of and behind a model that costs nothing.

    python benchmarks/host_path.py --corpus FILE --tokenizer FILE [--rows-per-unit N] [--output FOLDER]

The corpus is Parquet with a column `text`. Units, batches of 65,536 tokens and vectors of DistilBERT's width
are those of a job on a GPU; the encoder is replaced by one that returns a slice of what lies ready. One
process, one stage after the other, the best of several rounds each. Prints one JSON object.
"""

import argparse
import json
import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from corpusmill.jobs.bench.job import blocks_of, job_over, resolved
from corpusmill.jobs.bench.settings import Settings
from corpusmill.jobs.bench.shapes import checkpoint_of
from corpusmill.models import PackedTokens
from corpusmill.models.outputs import EmbeddingOutput, EncoderOutput
from corpusmill.pipeline.blocks import UnitBlock, pack_block, unpack_block
from corpusmill.pipeline.encode.batches import token_batches
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.engine.stages import tokenize_block
from corpusmill.pipeline.machine import keep_memory
from corpusmill.pipeline.output.commit import commit

TOKENS_PER_BATCH = 65_536
SHAPE = "distilbert"


class Nothing(nn.Module):
    """An encoder that computes nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.states_TD = torch.zeros(1, width, dtype=torch.bfloat16)

    def forward(self, _packed: PackedTokens, _request: Any) -> EncoderOutput:
        return EncoderOutput(last_hidden_state=self.states_TD)


class Slices(nn.Module):
    """A head that copies vectors which lie ready, as a GPU's come back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors_ND = torch.randn(TOKENS_PER_BATCH, width)

    def forward(self, _encoded: EncoderOutput, packed: PackedTokens, _targets: Any) -> EmbeddingOutput:
        return EmbeddingOutput(embeddings=self.vectors_ND[: len(packed)].clone())


def free_of_cost(encoder: Encoder) -> Encoder:
    """Replace the parts of an encoder that a GPU would run."""
    model = encoder._model
    width = model.checkpoint.width
    model.encoder, model.head = Nothing(width), Slices(width)
    return encoder


@dataclass(frozen=True)
class Corpus:
    """Units as they arrive at a stage: read, tokenized, packed into rows."""

    read: list[UnitBlock]
    tokenized: list[UnitBlock]
    rows: list[pa.Table]

    @property
    def documents(self) -> int:
        return sum(block.rows for block in self.read)

    @property
    def tokens(self) -> int:
        return sum(sum((block.tokens or {}).values()) for block in self.tokenized)


def best(call: Callable[[], object], rounds: int) -> float:
    """The seconds of the fastest round."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def sent(table: pa.Table) -> int:
    """Copy a table as Ray does on its way into the object store: header by pickle, buffers as they are."""
    buffers: list[pickle.PickleBuffer] = []
    header = pickle.dumps(table, protocol=5, buffer_callback=buffers.append)
    return len(header) + sum(len(bytes(buffer)) for buffer in buffers)


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Time every stage over all units."""
    settings = Settings(tokenizer=arguments.tokenizer, tokens_per_batch=TOKENS_PER_BATCH)
    texts = pq.read_table(arguments.corpus, columns=["text"])["text"].to_pylist()
    config = job_over(
        texts, checkpoint_of(SHAPE, work, tokenizer=arguments.tokenizer), work, settings, dtype="bfloat16"
    )
    if arguments.rows_per_unit:
        given = config.input.model_copy(update={"rows_per_unit": arguments.rows_per_unit})
        config = config.model_copy(update={"input": given})
    job, model = resolved(config, threads=1)
    encoder = free_of_cost(Encoder(model))
    output = replace(job.spec.output, compression=arguments.compression)
    read = list(blocks_of(job))
    done = [tokenize_block(block, job.spec.tokenization) for block in read]
    corpus = Corpus(read, done, [pack_block(block) for block in done])

    prepared = [encoder.prepare(block) for block in corpus.tokenized]
    batches = [
        batch
        for unit in prepared
        for batch in token_batches(unit.sequences, tokens_per_batch=TOKENS_PER_BATCH)
    ]
    encoded = [encoder.encode(block) for block in corpus.tokenized]
    written = iter(range(10**9))

    def write() -> None:
        into = replace(output, url=f"{output.url}-{next(written)}")
        for block, result in zip(corpus.tokenized, encoded, strict=True):
            commit(block, [result.columns], into, tokens=result.stats.tokens)

    stages: dict[str, Callable[[], object]] = {
        "read": lambda: list(blocks_of(job)),
        "read: packed for the store": lambda: [pack_block(block) for block in corpus.read],
        "tokenize": lambda: [tokenize_block(block, job.spec.tokenization) for block in corpus.read],
        "tokenize: packed for the store": lambda: [pack_block(block) for block in corpus.tokenized],
        "tokenize: copied to the store": lambda: [sent(row) for row in corpus.rows],
        "worker: unpack": lambda: [unpack_block(row) for row in corpus.rows],
        "worker: prepare": lambda: [encoder.prepare(block) for block in corpus.tokenized],
        "worker: cut batches": lambda: [
            list(token_batches(unit.sequences, tokens_per_batch=TOKENS_PER_BATCH)) for unit in prepared
        ],
        "worker: pack": lambda: [
            PackedTokens.from_flat(batch.ids, batch.lengths, token_types=batch.types) for batch in batches
        ],
        "worker: pack, model, values": lambda: [encoder.values(batch) for batch in batches],
        "worker: encode in all": lambda: [encoder.encode(block) for block in corpus.tokenized],
        "worker: copied to the store": lambda: [sent(result.columns) for result in encoded],
        "commit": write,
    }
    spent = {name: best(call, arguments.rounds) for name, call in stages.items()}
    tokens = sum(result.stats.tokens for result in encoded)
    worker = spent["worker: unpack"] + spent["worker: encode in all"] + spent["worker: copied to the store"]
    source = sum(seconds for name, seconds in spent.items() if not name.startswith(("worker", "commit")))
    return {
        "documents": corpus.documents,
        "tokens": tokens,
        "units": len(corpus.read),
        "batches": len(batches),
        "microseconds a document": {
            name: round(seconds / corpus.documents * 1e6, 2) for name, seconds in spent.items()
        },
        "tokens/s": {
            "tokenizing, one core": round(tokens / spent["tokenize"]),
            "reading and tokenizing with the ways to the store, one core": round(tokens / source),
            "worker, if all of it is one thread's": round(tokens / worker),
            "committing, one thread": round(tokens / spent["commit"]),
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--rows-per-unit", type=int, default=0)
    parser.add_argument("--compression", default=None)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=1))


if __name__ == "__main__":
    keep_memory()
    main()
