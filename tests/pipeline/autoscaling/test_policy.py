"""What the policy promises for any load: bounds, one step up, no flapping, the minimum when idle."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.scalers import Ours
from support.simulation import Model, Trace, World, at_rate, directions

from corpusmill.pipeline.autoscaling.policy import decide, need
from corpusmill.pipeline.autoscaling.snapshot import PolicyMemory, PoolSnapshot

DRAIN = 60.0


@st.composite
def snapshots(draw: st.DrawFn) -> PoolSnapshot:
    """Any possible state of a pool."""
    low = draw(st.integers(0, 20))
    units = draw(st.integers(0, 5_000))
    tokens = draw(st.integers(0, 10**9)) if units else 0
    in_flight = draw(st.integers(0, tokens))
    finished = draw(st.booleans())
    return PoolSnapshot(
        queued_tokens=tokens - in_flight,
        in_flight_tokens=in_flight,
        units=units,
        running=draw(st.integers(0, 1_000)),
        starting=draw(st.integers(0, 1_000)),
        rate=draw(st.none() | st.floats(0.1, 1e7)),
        startup_seconds=draw(st.floats(0, 600)),
        min_workers=low,
        max_workers=draw(st.integers(max(low, 1), 1_000)),
        arrival_rate=draw(st.floats(0, 1e8)),
        feed_rate=draw(st.none() | st.floats(0, 1e8)),
        backlog_tokens=0.0 if finished else draw(st.floats(0, 1e12)),
        finished=finished,
    )


@given(loads=st.lists(st.tuples(snapshots(), st.floats(0, 100)), min_size=1, max_size=20))
def test_targets_stay_in_bounds(loads: list[tuple[PoolSnapshot, float]]) -> None:
    """For any sequence of states, at any intervals."""
    memory, now = PolicyMemory(0), 0.0
    for pool, passed in loads:
        now += passed
        decision, memory = decide(pool, memory, need(pool, DRAIN), now=now, shrink_after=DRAIN)
        least = min(pool.min_workers, pool.units) if pool.finished else pool.min_workers
        assert least <= decision.target <= pool.max_workers
        assert memory.target == decision.target
        assert decision.reason


@given(
    held=st.integers(0, 400),
    times=st.floats(1.3, 10),
    rate=st.floats(1, 1e5),
    startup=st.floats(0, 300),
    most=st.integers(1, 5_000),
    feed=st.none() | st.floats(0, 1e7),
)
def test_a_queue_that_jumps_is_answered_in_one_decision(
    held: int, times: float, rate: float, startup: float, most: int, feed: float | None
) -> None:
    """The first decision gives the workers that the work needs, and stays while nothing changes."""
    queued = int((held + 1) * times * rate * max(DRAIN, 2 * startup))
    pool = PoolSnapshot(
        queued, 0, 10**5, held, 0, rate, startup, 0, most, feed_rate=feed, backlog_tokens=10.0 * queued
    )
    first, memory = decide(
        pool, PolicyMemory(min(held, most)), need(pool, DRAIN), now=0.0, shrink_after=DRAIN
    )
    assert first.target == min(need(pool, DRAIN).workers, most)
    assert first.target > held or first.target == most
    for second in range(1, 50):
        again, memory = decide(pool, memory, need(pool, DRAIN), now=float(second), shrink_after=DRAIN)
        assert again.target == first.target


@given(
    queued=st.integers(1, 10**7),
    rate=st.floats(1, 1e5),
    startup=st.floats(0, 30),
    running=st.integers(0, 100),
)
def test_what_is_asked_for_drains_the_queue_in_time(
    queued: int, rate: float, startup: float, running: int
) -> None:
    """Existing workers count for the whole drain time, new ones for the part after their start."""
    pool = PoolSnapshot(queued, 0, 10**6, running, 0, rate, startup, 0, 10**9)
    workers = need(pool, DRAIN).workers
    done = rate * (min(running, workers) * DRAIN + max(0, workers - running) * (DRAIN - startup))
    part_of_a_worker = 0.11 * rate * DRAIN
    assert done >= queued - part_of_a_worker
    assert workers <= running or done <= queued + rate * DRAIN


@given(pool=snapshots(), more=st.integers(0, 10**8))
def test_more_work_never_asks_for_fewer_workers(pool: PoolSnapshot, more: int) -> None:
    """A longer queue of as many units."""
    assume(pool.units > 0)
    longer = replace(pool, queued_tokens=pool.queued_tokens + more)
    assert need(longer, DRAIN).workers >= need(pool, DRAIN).workers


@given(held=st.integers(0, 1_000), pool=snapshots())
def test_an_idle_pool_goes_to_its_minimum(held: int, pool: PoolSnapshot) -> None:
    """Within a drain time of the last work and of the last growth, to zero where that is the minimum."""
    idle = replace(
        pool, queued_tokens=0, in_flight_tokens=0, units=0, arrival_rate=0.0, feed_rate=None, finished=False
    )
    memory = PolicyMemory(held, last_growth=0.0)
    for second in range(int(DRAIN) + 1):
        decision, memory = decide(idle, memory, need(idle, DRAIN), now=float(second), shrink_after=DRAIN)
    assert decision.target == pool.min_workers


@given(held=st.integers(0, 1_000), pool=snapshots())
def test_workers_without_any_further_unit_end_at_once(held: int, pool: PoolSnapshot) -> None:
    """With the source at its end no more are kept than there are units, whatever the minimum is."""
    ended = replace(pool, finished=True)
    decision, _ = decide(
        ended, PolicyMemory(held, last_growth=0.0), need(ended, DRAIN), now=1.0, shrink_after=DRAIN
    )
    assert decision.target <= pool.units


@given(pool=snapshots())
def test_an_empty_queue_needs_no_more_than_the_source_can_feed(pool: PoolSnapshot) -> None:
    """A pool that waits for its upstream gets no workers that would wait too."""
    assume(pool.rate is not None)
    waiting = replace(pool, queued_tokens=0, in_flight_tokens=0, units=0)
    fed = (pool.feed_rate or 0.0) / (pool.rate or 1.0)
    decision, _ = decide(waiting, PolicyMemory(0), need(waiting, DRAIN), now=0.0, shrink_after=DRAIN)
    assert decision.target <= max(pool.min_workers, fed + 1)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    workers=st.floats(0.2, 45),
    noise=st.floats(0, 0.3),
    rate=st.floats(500, 5_000),
    seconds=st.floats(0.5, 20),
    startup=st.floats(0.5, 30),
    seed=st.integers(0, 1_000),
)
@example(workers=3.4, noise=0.0, rate=1_000, seconds=5, startup=5, seed=0)
@example(workers=0.3, noise=0.0, rate=1_000, seconds=20, startup=5, seed=0)
def test_a_constant_or_noisy_load_never_makes_a_pool_flap(
    workers: float, noise: float, rate: float, seconds: float, startup: float, seed: int
) -> None:
    """At most one change of direction in any drain time, and hardly more workers than the load keeps busy."""
    world = steady(workers, noise, rate, seconds, startup, seed)
    ours = Ours(world)
    world.run(ours)
    targets = [(time, target) for time, _, target, _ in ours.reasons if time < END]
    turns = [time for time, _ in directions(targets)]
    assert all(later - earlier >= DRAIN for earlier, later in itertools.pairwise(turns)), targets
    late = [target for time, target in targets if time > 10 * DRAIN]
    assert max(late, default=0) <= 1.3 * workers * (1 + noise) + 2


END = 1_500


def steady(workers: float, noise: float, rate: float, seconds: float, startup: float, seed: int) -> World:
    """A load that keeps so many workers busy, in units that take one so many seconds, for END seconds."""
    wave = [1 + noise * (((t * 7919 + seed) % 1000) / 500 - 1) for t in range(END)]
    units = at_rate([workers * rate * part for part in wave], int(rate * seconds))
    assume(units)
    return World(Trace("steady", units, (Model(rate, startup, 60, 0),), 60), seed)


@settings(max_examples=20, deadline=None)
@given(fed=st.floats(0.5, 30), rate=st.floats(500, 5_000), startup=st.floats(0.5, 20))
def test_a_pool_is_not_scaled_beyond_what_its_source_feeds(fed: float, rate: float, startup: float) -> None:
    """Behind a source that keeps `fed` workers busy and a thousand allowed, hardly more are ever there."""
    units = at_rate([fed * rate] * 900, int(rate * 4))
    world = World(Trace("slow source", units, (Model(rate, startup, 1_000),), 1_000, room=4_000))
    outcome = world.run(Ours(world))
    # Above `fed`: what drains, within a drain time, the queue that grew while the first ones started.
    assert outcome.peak <= fed * (1 + (3 * startup + 15) / (DRAIN - startup)) + 3
