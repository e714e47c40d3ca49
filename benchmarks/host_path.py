"""Microseconds of host time per document, stage by stage, around a model that costs nothing.

    python benchmarks/host_path.py --corpus FILE --tokenizer FILE [--rows-per-unit N] [--output FOLDER]

The corpus is Parquet with a column `text`. Units, batches of 65,536 tokens and vectors of DistilBERT's width
are those of a job on a GPU. In place of the model, prepared vectors are copied. The stages run one after the
other in one process; the best of several rounds counts. Prints one JSON object.
"""

import argparse
import json
import pickle
import tempfile
import time
import uuid
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
from corpusmill.jobs.resolve.job import ResolvedJob
from corpusmill.models import PackedTokens
from corpusmill.models.outputs import EmbeddingOutput, EncoderOutput
from corpusmill.pipeline.blocks import UnitBlock, pack_block, unpack_block
from corpusmill.pipeline.encode.batches import TokenBatch, token_batches
from corpusmill.pipeline.encode.encoded import Encoded
from corpusmill.pipeline.encode.encoder import Encoder, Prepared
from corpusmill.pipeline.engine.stages import tokenize_block
from corpusmill.pipeline.machine import keep_memory
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.spec import ModelSpec, OutputSpec

TOKENS_PER_BATCH = 65_536
SHAPE = "distilbert"


class NoEncoder(nn.Module):
    """An encoder that computes nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.states_TD = torch.zeros(1, width, dtype=torch.bfloat16)

    def forward(self, _packed: PackedTokens, _request: Any) -> EncoderOutput:
        return EncoderOutput(last_hidden_state=self.states_TD)


class ReadyVectors(nn.Module):
    """A head that copies prepared vectors, as a GPU's results are copied to the host."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors_ND = torch.randn(TOKENS_PER_BATCH, width)

    def forward(self, _encoded: EncoderOutput, packed: PackedTokens, _targets: Any) -> EmbeddingOutput:
        return EmbeddingOutput(embeddings=self.vectors_ND[: len(packed)].clone())


def without_model_cost(encoder: Encoder) -> Encoder:
    """Replace the parts of an encoder that a GPU would run, and return it."""
    model = encoder._model
    width = model.checkpoint.width
    model.encoder, model.head = NoEncoder(width), ReadyVectors(width)
    return encoder


@dataclass(frozen=True)
class Units:
    """All units, as each stage receives them."""

    read: list[UnitBlock]
    tokenized: list[UnitBlock]
    packed: list[pa.Table]
    prepared: list[Prepared]
    encoded: list[Encoded]

    @property
    def batches(self) -> list[TokenBatch]:
        """The batches of all units, in order."""
        return [batch for unit in self.prepared for batch in batches_of(unit)]

    @property
    def documents(self) -> int:
        """The number of rows."""
        return sum(block.rows for block in self.read)

    @property
    def tokens(self) -> int:
        """The number of tokens that the model reads."""
        return sum(result.stats.tokens for result in self.encoded)


def best(call: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the fastest round."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def copy_to_store(table: pa.Table) -> int:
    """Copy a table as Ray does for its object store (a pickled header, plain buffers); return its bytes."""
    buffers: list[pickle.PickleBuffer] = []
    header = pickle.dumps(table, protocol=5, buffer_callback=buffers.append)
    return len(header) + sum(len(bytes(buffer)) for buffer in buffers)


def batches_of(unit: Prepared) -> list[TokenBatch]:
    """Return the batches of one unit."""
    return list(token_batches(unit.sequences, tokens_per_batch=TOKENS_PER_BATCH))


def resolved_job(arguments: argparse.Namespace, work: Path) -> tuple[ResolvedJob, ModelSpec]:
    """Return the job over the corpus, and its model, as a GPU would run them."""
    settings = Settings(tokenizer=arguments.tokenizer, tokens_per_batch=TOKENS_PER_BATCH)
    texts = pq.read_table(arguments.corpus, columns=["text"])["text"].to_pylist()
    checkpoint = checkpoint_of(SHAPE, work, tokenizer=arguments.tokenizer)
    config = job_over(texts, checkpoint, work, settings, dtype="bfloat16")
    if arguments.rows_per_unit:
        given = config.input.model_copy(update={"rows_per_unit": arguments.rows_per_unit})
        config = config.model_copy(update={"input": given})
    return resolved(config, threads=1)


def units_of(job: ResolvedJob, encoder: Encoder) -> Units:
    """Run all stages once and keep what each of them receives."""
    read = list(blocks_of(job))
    done = [tokenize_block(block, job.spec.tokenization) for block in read]
    packed = [pack_block(block) for block in done]
    prepared = [encoder.prepare(block) for block in done]
    return Units(read, done, packed, prepared, [encoder.encode(block) for block in done])


def write(units: Units, output: OutputSpec) -> None:
    """Commit all units to a new output."""
    new = replace(output, url=f"{output.url}-{uuid.uuid4().hex}")
    for block, result in zip(units.tokenized, units.encoded, strict=True):
        commit(block, [result.columns], new, tokens=result.stats.tokens)


def stages_of(
    job: ResolvedJob, units: Units, encoder: Encoder, output: OutputSpec
) -> dict[str, Callable[[], object]]:
    """Return each stage, as a call over all units."""
    batches = units.batches
    return {
        "read": lambda: list(blocks_of(job)),
        "read: packed for the store": lambda: [pack_block(block) for block in units.read],
        "tokenize": lambda: [tokenize_block(block, job.spec.tokenization) for block in units.read],
        "tokenize: packed for the store": lambda: [pack_block(block) for block in units.tokenized],
        "tokenize: copied to the store": lambda: [copy_to_store(row) for row in units.packed],
        "worker: unpack": lambda: [unpack_block(row) for row in units.packed],
        "worker: prepare": lambda: [encoder.prepare(block) for block in units.tokenized],
        "worker: cut batches": lambda: [batches_of(unit) for unit in units.prepared],
        "worker: pack": lambda: [
            PackedTokens.from_flat(batch.ids, batch.lengths, token_types=batch.types) for batch in batches
        ],
        "worker: pack, model, values": lambda: [encoder.values(batch) for batch in batches],
        "worker: encode in all": lambda: [encoder.encode(block) for block in units.tokenized],
        "worker: copied to the store": lambda: [copy_to_store(result.columns) for result in units.encoded],
        "commit": lambda: write(units, output),
    }


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Time every stage over all units."""
    job, model = resolved_job(arguments, work)
    encoder = without_model_cost(Encoder(model))
    units = units_of(job, encoder)
    output = replace(job.spec.output, compression=arguments.compression)
    stages = stages_of(job, units, encoder, output)
    spent = {name: best(call, arguments.rounds) for name, call in stages.items()}
    worker = spent["worker: unpack"] + spent["worker: encode in all"] + spent["worker: copied to the store"]
    source = sum(seconds for name, seconds in spent.items() if not name.startswith(("worker", "commit")))
    return {
        "documents": units.documents,
        "tokens": units.tokens,
        "units": len(units.read),
        "batches": len(units.batches),
        "microseconds a document": {
            name: round(seconds / units.documents * 1e6, 2) for name, seconds in spent.items()
        },
        "tokens/s": {
            "tokenizing, one core": round(units.tokens / spent["tokenize"]),
            "reading and tokenizing with the ways to the store, one core": round(units.tokens / source),
            "worker, if all of it is one thread's": round(units.tokens / worker),
            "committing, one thread": round(units.tokens / spent["commit"]),
        },
    }


def main() -> None:
    """Measure and print the result."""
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
