"""On a machine of its own a job ends as soon as the CPUs allow; no worker starts that saves too little."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from support.scalers import Ours
from support.simulation import Model, OwnMachine, Trace
from support.traces import demo

from corpusmill.pipeline.autoscaling.snapshot import PoolSnapshot
from corpusmill.pipeline.autoscaling.soonest import soonest


def pool(work: float, *, running: int = 1, startup: float = 8.0, units: int = 100) -> PoolSnapshot:
    """A pool whose one worker would need so many seconds for all that waits."""
    return PoolSnapshot(int(work * 100), 0, units, running, 0, 100.0, startup, 1, 64)


def asked(*pools: PoolSnapshot, cpus: float) -> list[int]:
    """The workers that the pools need."""
    return [need.workers for need in soonest(pools, [1.0] * len(pools), cpus)]


def test_the_demos_largest_model_gets_both_cores() -> None:
    """55 s of work are more than a start; the small models' workers are idle nearly all the time."""
    assert asked(pool(55), pool(5), pool(5), cpus=2) == [2, 1, 1]


def test_a_start_has_to_save_more_than_it_takes() -> None:
    """Two workers end 15 s of work 7.5 s sooner; one that is there already costs nothing."""
    assert asked(pool(15), cpus=2) == [1]
    assert asked(pool(17), cpus=2) == [2]
    assert asked(pool(3, running=2), cpus=2) == [2]


def test_two_models_that_have_as_much_work_both_grow() -> None:
    """The growth of one alone would save little, as the other would end last."""
    assert asked(pool(55), pool(50), cpus=4) == [2, 2]
    assert asked(pool(55), replace(pool(50), max_workers=1), cpus=4) == [1, 1]


def test_no_worker_starts_for_an_empty_queue_or_an_unknown_rate() -> None:
    """What is still to come is work, but a new worker takes from the queue."""
    waiting = replace(pool(0), units=4, in_flight_tokens=500, backlog_tokens=1e6)
    assert asked(waiting, cpus=4) == [1]
    assert asked(replace(waiting, queued_tokens=100), cpus=4) == [4]
    assert asked(replace(pool(100), rate=None), cpus=4) == [1]
    assert asked(replace(pool(100), units=0, queued_tokens=0), cpus=4) == [0]
    assert asked(pool(1_000, units=3), cpus=8) == [3]


@given(
    work=st.lists(st.floats(0, 1e4), min_size=1, max_size=4),
    running=st.integers(0, 3),
    startup=st.floats(0, 60),
    cpus=st.integers(1, 64),
)
def test_growth_stops_where_one_more_would_save_less_than_its_start(
    work: list[float], running: int, startup: float, cpus: int
) -> None:
    """Of the pool that ends last: a worker less would save more than a start, one more would not."""
    pools = [pool(each, running=running, startup=startup, units=1_000) for each in work]
    found = asked(*pools, cpus=cpus)
    seconds = [p.queued_tokens / 100 for p in pools]
    assert all(1 <= count <= max(1, min(cpus, 64)) for count in found)
    end = lambda counts: max(  # noqa: E731
        sum(seconds) / cpus, *(s / n for s, n in zip(seconds, counts, strict=True)), 0.0
    )
    last = max(range(len(pools)), key=lambda i: seconds[i] / found[i])
    more = [count + (i == last) for i, count in enumerate(found)]
    if found[last] < min(cpus, 64) and found[last] >= running:
        assert end(found) - end(more) <= startup + 1e-6
    for i, count in enumerate(found):
        if count > max(1, running):
            assert seconds[i] / (count - 1) - seconds[i] / count > startup - 1e-6


def played(trace: Trace, seed: int = 0) -> tuple[float, Ours]:
    """How long our policy takes on a machine of its own."""
    world = OwnMachine(trace, seed)
    ours = Ours(world)
    return world.run(ours).seconds, ours


def test_the_demos_trace_uses_both_cores() -> None:
    """Within 10 % of all work and all starts on two cores; with a drain time of 60 s far later."""
    trace = demo()
    seconds, ours = played(trace)
    tokens = sum(count for _, count in trace.units)
    work = sum(tokens / model.rate + model.startup for model in trace.models) + trace.models[0].startup
    assert seconds <= 1.1 * work / trace.capacity
    assert {(i, target) for _, i, target, _ in ours.reasons} >= {(0, 2), (1, 0), (2, 0)}
    assert seconds <= 0.75 * played(replace(trace, drain_seconds=60.0))[0]


@settings(max_examples=40, deadline=None)
@given(
    rates=st.lists(st.floats(500, 50_000), min_size=1, max_size=4),
    cpus=st.integers(1, 8),
    units=st.integers(1, 60),
    tokens=st.integers(1_000, 40_000),
    startup=st.floats(1, 15),
    seed=st.integers(0, 1_000),
)
def test_a_job_on_its_own_machine_ends_nearly_as_soon_as_it_can(
    rates: list[float], cpus: int, units: int, tokens: int, startup: float, seed: int
) -> None:
    """Never later than without any growth by more than what a start takes; every pool ends with its work."""
    models = tuple(Model(rate, startup, max_workers=cpus) for rate in rates)
    trace = Trace("own", tuple((0.1 * i, tokens) for i in range(units)), models, cpus, drain_seconds=None)
    alone = replace(trace, models=tuple(replace(model, max_workers=1) for model in models))
    assert played(trace, seed)[0] <= 1.1 * played(alone, seed)[0] + startup + 2
