"""Handing a queue's pieces to the workers of its pools."""

from collections.abc import Sequence

from corpusmill.pipeline.autoscaling.handing import Hands, taker
from corpusmill.pipeline.engine.crew import Worker
from corpusmill.pipeline.engine.pool import Pool
from corpusmill.pipeline.engine.queue import Queue

LATE, LEAST_LATE = 3.0, 30.0
"""Starts, and seconds, after which a worker that is still starting is not counted on."""


def dispatch(queue: Queue, pools: Sequence[Pool], now: float, to_come: float) -> None:
    """Hand pieces to free workers, while there are both; `to_come` are tokens that are not read yet."""
    if len(pools) > 1:
        _share(queue, pools, now, to_come)
        return
    while len(queue):
        worker = pools[0].crew.free(alone=queue.first.alone)
        if worker is None:
            return
        pools[0].hand(worker, now)


def is_late(pool: Pool, now: float) -> bool:
    """Say whether workers of a pool have been starting for so long that nobody should wait for them."""
    limit = max(LEAST_LATE, LATE * pool.startup.seconds)
    return bool(pool.crew.starting) and any(
        worker.starting is not None and now - worker.asked > limit for worker in pool.crew
    )


def _share(queue: Queue, pools: Sequence[Pool], now: float, to_come: float) -> None:
    late = [is_late(pool, now) for pool in pools]
    while len(queue):
        free = [_free(pool, alone=queue.first.alone) for pool in pools]
        hands = [_hands(*each) for each in zip(pools, free, late, strict=True)]
        chosen = taker(queue.size(queue.first), queue.tokens + to_come, hands)
        worker = None if chosen is None else free[chosen]
        if chosen is None or worker is None:
            return
        pools[chosen].hand(worker, now)


def _free(pool: Pool, *, alone: bool) -> Worker | None:
    """Return a worker with room; one whose pool's rate is not measured has room for one piece, not two."""
    worker = pool.crew.free(alone=alone)
    return None if worker is None or (worker.held and pool.work.rate is None) else worker


def _hands(pool: Pool, free: Worker | None, late: bool) -> Hands:
    return Hands(
        pool.rate,
        pool.crew.ready,
        0 if late else pool.crew.starting,
        pool.startup.seconds,
        pool.holdings.tokens,
        None if free is None else pool.holdings.of(free),
    )
