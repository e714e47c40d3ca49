"""What a starting worker has to say reaches the driver, once."""

from types import SimpleNamespace
from typing import Any

from corpusmill.pipeline.engine.faults import Patience
from corpusmill.pipeline.engine.messages import WorkerNote
from corpusmill.pipeline.engine.pool import Pool
from corpusmill.pipeline.engine.workers import Ready
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec

TOKENIZER = TokenizerSpec("folder", "digest", "folder")
SPEC = ModelSpec(
    "vec",
    "",
    "folder",
    "folder",
    "digest",
    "embedding",
    "float32",
    "cuda",
    512,
    None,
    64,
    TOKENIZER,
    PoolSpec(2, 1),
)


def actor(_: ModelSpec) -> Any:
    """What stands for an actor: each start has a reference of its own."""
    return SimpleNamespace(ready=SimpleNamespace(remote=object))


def test_notes_are_handed_on() -> None:
    """All of them, with their worker's process; one that has nothing to say says nothing."""
    pool = Pool(0, SPEC, actor, Patience(), 0.0)
    pool.resize(2)
    first, second = list(pool.awaited())
    said = list(pool.answered(first, Ready(7, 0.0, ("finds less", "takes less")), 1.0))
    assert said == [WorkerNote("vec", 7, "finds less"), WorkerNote("vec", 7, "takes less")]
    assert list(pool.answered(second, Ready(8), 1.0)) == []
