"""One model's line: its queue, and the pools that serve it."""

from collections.abc import Callable, Iterator
from typing import Any

from corpusmill.pipeline.engine.dispatch import dispatch
from corpusmill.pipeline.engine.intake import Intake
from corpusmill.pipeline.engine.outcomes import PoolState
from corpusmill.pipeline.engine.patience import Patience
from corpusmill.pipeline.engine.pool import Pool
from corpusmill.pipeline.engine.queue import Queue
from corpusmill.pipeline.spec import ModelSpec


class Line:
    """The `index`-th model of a job: units wait in its queue until a worker of some pool takes them."""

    def __init__(
        self, index: int, spec: ModelSpec, start: Callable[[ModelSpec], Any], patience: Patience, now: float
    ) -> None:
        self.queue = Queue(index, spec.tokenizer.key)
        self.pools = [Pool(self.queue, held, start, patience, now) for held in spec.by_pool]

    def dispatch(self, now: float, intake: Intake) -> None:
        """Hand pieces to free workers."""
        dispatch(
            self.queue, self.pools, now, 0.0 if intake.finished else intake.backlog(self.queue.tokenizer)
        )

    def states(self, intake: Intake) -> Iterator[PoolState]:
        """Return how each pool stands."""
        expected = intake.expected(self.queue.tokenizer)
        done = sum(pool.done_tokens for pool in self.pools)
        left = None if expected is None else max(0, round(expected) - done)
        for pool in self.pools:
            yield pool.state(left)
