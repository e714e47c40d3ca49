"""Encode workers that ordinary words can crash, hang or fail: real processes, with a fault put into the task.

A worker with these words behaves as one whose model has a fault for some inputs: everything else about it is
the product's own. POISON maps a word of the tiny checkpoints' vocabulary to what it does.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import ray
import torch
from support.tiny_checkpoints import VOCABULARY

from corpusmill.models import Model, PackedTokens
from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.encode.encoded import Encoded
from corpusmill.pipeline.encode.encoder import BatchResults, Encoder
from corpusmill.pipeline.engine.workers import EncodeWorker
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.tasks.task import Prepared, Values


def crash(_: PackedTokens) -> None:
    """End the process as a fault in native code does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def leave(_: PackedTokens) -> None:
    """End the process without a word."""
    os._exit(0)


def hang(_: PackedTokens) -> None:
    """Never answer."""
    time.sleep(3600)


def device_memory(packed: PackedTokens) -> None:
    """Run out of a device's memory with more than one sequence."""
    if len(packed) > 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def host_memory(_: PackedTokens) -> None:
    """Run out of the host's memory, however small the batch."""
    torch.empty(2**50)


def devour(_: PackedTokens) -> None:
    """Take memory until there is none."""
    taken = []
    while True:
        taken.append(bytearray(b"x") * (64 << 20))
        time.sleep(0.02)


def bad_index(_: PackedTokens) -> None:
    """Raise as an id beyond the vocabulary does."""
    torch.nn.functional.embedding(torch.tensor([7]), torch.zeros(3, 2))


POISON: dict[str, Callable[[PackedTokens], None]] = {
    "horse": crash,
    "fish": leave,
    "mountain": hang,
    "river": device_memory,
    "school": host_memory,
    "tree": bad_index,
    "music": devour,
}
IDS = {VOCABULARY.index(word): (word, action) for word, action in POISON.items()}


def poison(encoder: Encoder) -> None:
    """Put the faults into an encoder."""
    real = encoder._task.values

    def values(model: Model, packed: PackedTokens) -> Values:
        for id_ in sorted(set(packed.input_ids.tolist()) & set(IDS)):
            IDS[id_][1](packed)
        return real(model, packed)

    encoder._task.values = values  # type: ignore[method-assign]


def linger(encoder: Encoder) -> None:
    """Have an encoder take longer for what it does after a unit's batches."""
    real = encoder.finish

    def finish(block: UnitBlock, unit: Prepared, results: BatchResults) -> Encoded:
        time.sleep(0.5)
        return real(block, unit, results)

    encoder.finish = finish  # type: ignore[method-assign]


class PoisonedWorker(EncodeWorker):
    """An encode worker with the faults; one at two pieces begins the second before it ends the first."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        poison(self._encoder)
        if spec.pool.at_once > 1:
            linger(self._encoder)


def starter(only: str = "") -> Callable[[ModelSpec], Any]:
    """Return what starts an encoder with the faults, for the models whose prefix begins with `only`."""

    # Workers have no path to the tests: they get this module's classes whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    def start(spec: ModelSpec) -> Any:
        kind = PoisonedWorker if spec.prefix.startswith(only) else EncodeWorker
        options = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": spec.pool.at_once}
        return ray.remote(**options)(kind).remote(spec)

    return start
