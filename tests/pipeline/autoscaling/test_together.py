"""Pools that decide together: the one that has work gets what a drained one holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.autoscaling.snapshot import PolicyMemory, PoolSnapshot
from corpusmill.pipeline.autoscaling.together import PoolDecision, WorkerCost, decide_all

DRAIN = 60.0
BUSY = PoolSnapshot(10**6, 0, 100, 1, 0, 100.0, 5.0, 1, 8)
"""Work for far more than eight workers."""
DRAINED = PoolSnapshot(0, 0, 0, 4, 0, 100.0, 5.0, 1, 8)


def decided(pools: list[PoolSnapshot], held: list[int], room: float) -> list[PoolDecision]:
    """The decisions for pools with so many workers, on a cluster with so much room."""
    return decide_all(
        [WorkerCost("cpu", 1.0)] * len(pools),
        pools,
        [PolicyMemory(count, last_growth=0.0) for count in held],
        room={"cpu": room},
        now=1.0,
        drain_seconds=DRAIN,
    )


def targets(pools: list[PoolSnapshot], held: list[int], room: float) -> list[int]:
    """Their targets."""
    return [found.target for found in decided(pools, held, room)]


def test_idle_workers_of_a_drained_pool_give_way_to_a_pool_with_work() -> None:
    """At once, down to the minimum; without another's need they stay for a drain time."""
    assert targets([BUSY, DRAINED], [1, 4], room=5) == [4, 1]
    assert targets([BUSY, DRAINED], [1, 4], room=12) == [8, 4]
    assert targets([replace(BUSY, max_workers=1), DRAINED], [1, 4], room=5) == [1, 4]


def test_what_recent_arrivals_keep_busy_does_not_give_way() -> None:
    """A pool whose queue is empty because it keeps up is not a drained one."""
    steady = replace(DRAINED, arrival_rate=290.0)
    assert targets([BUSY, steady], [1, 4], room=9) == [6, 3]
    assert targets([BUSY, DRAINED], [1, 4], room=9) == [8, 1]


@pytest.mark.parametrize("least", [0, 1, 4])
def test_a_pool_without_any_further_unit_leaves_all_its_room(least: int) -> None:
    """Also below its minimum, at once and for good; a unit that comes back starts a worker again."""
    ended = replace(DRAINED, finished=True, min_workers=least)
    assert targets([BUSY, ended], [1, 4], room=5) == [5, 0]
    assert targets([BUSY, ended], [5, 0], room=5) == [5, 0]
    back = replace(ended, units=1, queued_tokens=100, running=0)
    assert targets([BUSY, back], [5, 0], room=5) == [4, 1]


@given(
    units=st.lists(st.integers(0, 50), min_size=1, max_size=5),
    held=st.integers(0, 8),
    room=st.integers(1, 20),
)
def test_pools_with_work_always_have_a_worker_and_nobody_exceeds_the_room(
    units: list[int], held: int, room: int
) -> None:
    """But for the one worker of each, without which its model would stand still."""
    pools = [replace(BUSY, queued_tokens=1_000 * count, units=count) for count in units]
    found = targets(pools, [held] * len(pools), room)
    assert all(target >= 1 for target, count in zip(found, units, strict=True) if count)
    assert sum(found) <= max(room, len(pools))
