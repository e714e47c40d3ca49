"""What waits for a model, divided over its pools: all of it, the fastest first, nobody for nothing."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corpusmill.pipeline.autoscaling.division import divide, fastest_first
from corpusmill.pipeline.autoscaling.need import need
from corpusmill.pipeline.autoscaling.snapshot import Memory, PoolSnapshot
from corpusmill.pipeline.autoscaling.together import Seat, decide_all

DRAIN = 60.0


def pool(
    rate: float | None, most: int, *, least: int = 0, running: int = 0, startup: float = 8.0
) -> PoolSnapshot:
    """A pool that holds nothing, in front of nothing."""
    return PoolSnapshot(0, 0, 0, running, 0, rate, startup, least, most)


@st.composite
def lines(draw: st.DrawFn, *, rates: bool = True) -> tuple[PoolSnapshot, ...]:
    """Any state of a model's pools that can be: they see the same queue and the same source."""
    waiting = draw(st.integers(0, 5_000))
    finished = draw(st.booleans())
    shared = {
        "queued_tokens": draw(st.integers(0, 10**9)) if waiting else 0,
        "arrival_rate": draw(st.floats(0, 1e8)),
        "feed_rate": draw(st.none() | st.floats(0, 1e8)),
        "backlog_tokens": 0.0 if finished else draw(st.floats(0, 1e12)),
        "finished": finished,
    }
    found = []
    for _ in range(draw(st.integers(2, 3))):
        low, held = draw(st.integers(0, 20)), draw(st.integers(0, 40))
        rate = draw(st.floats(0.1, 1e7)) if rates else draw(st.none() | st.floats(0.1, 1e7))
        one = pool(
            rate, draw(st.integers(max(low, 1), 1_000)), least=low, running=draw(st.integers(0, 1_000))
        )
        held_tokens = draw(st.integers(0, 10**8)) if held else 0
        found.append(
            replace(
                one,
                units=waiting + held,
                in_flight_units=held,
                in_flight_tokens=held_tokens,
                startup_seconds=draw(st.floats(0, 600)),
                late=draw(st.booleans()),
                **shared,
            )
        )
    return tuple(found)


@given(line=lines(rates=False))
def test_nothing_of_the_queue_is_left_out(line: tuple[PoolSnapshot, ...]) -> None:
    """The parts are the whole, or more where some pool's workers may not come; no part is below nothing."""
    parts = divide(line, DRAIN)
    queued = line[0].queued_tokens
    assert all(part.queued_tokens >= 0 and part.units >= part.in_flight_units for part in parts)
    total = sum(part.queued_tokens for part in parts)
    assert total >= queued - len(parts)
    units = sum(part.units - part.in_flight_units for part in parts)
    assert units >= (line[0].units - line[0].in_flight_units if queued else 0)
    if not any(one.late for one in line):
        assert total <= queued + len(parts)
        assert sum(part.arrival_rate for part in parts) == pytest.approx(line[0].arrival_rate)


@given(line=lines())
def test_a_pool_alone_decides_as_ever(line: tuple[PoolSnapshot, ...]) -> None:
    """With one pool nothing is divided."""
    assert divide(line[:1], DRAIN) == line[:1]


@given(
    fast=st.floats(1e3, 1e6),
    times=st.floats(1.3, 1_000),
    most=st.integers(1, 50),
    running=st.integers(0, 50),
    part=st.floats(0, 1),
    slow_first=st.booleans(),
)
def test_no_slow_worker_is_started_for_what_the_fast_pool_drains_in_time(
    fast: float, times: float, most: int, running: int, part: float, slow_first: bool
) -> None:
    """Whatever the order in the job file, and also where the fast pool has no worker yet."""
    running = min(running, most)
    drained = fast * (running * DRAIN + (most - running) * (DRAIN - 8))
    queued = int(part * drained)
    one = replace(pool(fast, most, running=running), queued_tokens=queued, units=10**5)
    two = replace(pool(fast / times, 100), queued_tokens=queued, units=10**5)
    parts = divide([two, one] if slow_first else [one, two], DRAIN)
    slow, quick = parts if slow_first else reversed(parts)
    assert slow.queued_tokens == 0
    assert need(slow, DRAIN).workers == 0
    assert quick.queued_tokens == queued


@given(
    rates=st.tuples(st.floats(1e3, 1e6), st.floats(1e2, 1e6)),
    most=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    times=st.floats(1.2, 100),
)
def test_what_all_cannot_drain_in_time_is_divided_as_they_can(
    rates: tuple[float, float], most: tuple[int, int], times: float
) -> None:
    """In proportion to what each drains at its largest; all grow to that."""
    each = [rate * count * (DRAIN - 8) for rate, count in zip(rates, most, strict=True)]
    queued = int(times * sum(each))
    line = [
        replace(pool(rate, count), queued_tokens=queued, units=10**6)
        for rate, count in zip(rates, most, strict=True)
    ]
    parts = divide(line, DRAIN)
    for part, own, count in zip(parts, each, most, strict=True):
        assert part.queued_tokens == pytest.approx(queued * own / sum(each), rel=0.01, abs=2)
        assert need(part, DRAIN).workers >= count


def test_what_minima_drain_is_not_asked_of_others() -> None:
    """Eight slow workers that are there anyway take their part from the fast pool's queue."""
    queued = 3_000_000
    fast = replace(pool(100_000, 10), queued_tokens=queued, units=1_000)
    slow = replace(pool(1_000, 8, least=8, running=8), queued_tokens=queued, units=1_000)
    quick, minimum = divide([fast, slow], DRAIN)
    assert minimum.queued_tokens == 8 * 1_000 * 60
    assert quick.queued_tokens == queued - minimum.queued_tokens


def test_workers_that_do_not_come_are_not_waited_for() -> None:
    """A pool whose starts take far too long still asks for its part, and the other gets all of it too."""
    queued = 1_000_000
    stuck = replace(pool(100_000, 2), starting=2, late=True, queued_tokens=queued, units=100)
    slow = replace(pool(1_000, 30), queued_tokens=queued, units=100)
    first, second = divide([stuck, slow], DRAIN)
    assert (first.queued_tokens, second.queued_tokens) == (queued, queued)
    on_time, nothing = divide([replace(stuck, late=False), slow], DRAIN)
    assert (on_time.queued_tokens, nothing.queued_tokens) == (queued, 0)


def test_a_source_held_back_feeds_the_fast_pool_first() -> None:
    """What it could feed beyond that goes to the slow one; what came lately too."""
    fed = {"feed_rate": 250_000.0, "backlog_tokens": 1e9, "arrival_rate": 250_000.0}
    parts = divide([replace(pool(100_000, 2), **fed), replace(pool(2_000, 30), **fed)], DRAIN)
    assert [part.feed_rate for part in parts] == pytest.approx([220_000, 30_000])
    assert [part.arrival_rate for part in parts] == pytest.approx([220_000, 30_000])
    assert need(parts[1], DRAIN).workers == 15


def test_order_follows_rates_that_differ_and_the_job_file_else() -> None:
    """Measured rates of like pools change places all the time; their pools must not."""
    assert fastest_first([100.0, 120.0]) == [0, 1]
    assert fastest_first([100.0, 130.0]) == [1, 0]
    assert fastest_first([1.0, None, 100.0]) == [1, 2, 0]


seats = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([("cpu", 1.0), ("cpu", 4.0), ("gpu", 0.5), ("gpu", 1.0)])),
    min_size=3,
    max_size=3,
)


@given(line=lines(), seats=seats, cpus=st.integers(1, 64), gpus=st.integers(0, 4))
def test_targets_stay_in_bounds_and_some_pool_of_each_model_works(
    line: tuple[PoolSnapshot, ...], seats: list[tuple[int, tuple[str, float]]], cpus: int, gpus: int
) -> None:
    """Minima, then room; a model whose pools all may go to nothing keeps one worker while there is work."""
    pools = [*line, *line][:3]
    placed = [
        Seat(model, kind, cost, own.min_workers)
        for (model, (kind, cost)), own in zip(seats, pools, strict=True)
    ]
    room = {"cpu": float(cpus), "gpu": float(gpus)}
    settled = decide_all(placed, pools, [Memory(0)] * 3, room=room, now=0.0, drain_seconds=DRAIN)
    for found, own in zip(settled, pools, strict=True):
        assert found.memory.target == found.target
        assert found.target <= own.max_workers
        assert found.target >= min(own.min_workers, found.decision.target)
    for kind, size in room.items():
        own_seats = [(s, f.target) for s, f in zip(placed, settled, strict=True) if s.kind == kind]
        least = sum(seat.cost * max(seat.least, 1) for seat, _ in own_seats)
        assert sum(seat.cost * target for seat, target in own_seats) <= max(size, least) + 1e-6
    for model in {seat.model for seat in placed}:
        own = [i for i, seat in enumerate(placed) if seat.model == model]
        assume(any(placed[i].cost <= room[placed[i].kind] for i in own))
        if pools[own[0]].queued_tokens > 1_000:
            assert any(settled[i].target for i in own)


def test_a_pool_without_room_leaves_its_part_to_the_other() -> None:
    """Eight GPU workers are allowed and one fits: the CPU workers are asked for what that one leaves."""
    queued = 8 * 52 * 10_000
    line = [
        replace(pool(10_000, 8), queued_tokens=queued, units=500),
        replace(pool(1_000, 100), queued_tokens=queued, units=500),
    ]
    places = [Seat(0, "gpu", 1.0, 0), Seat(0, "cpu", 1.0, 0)]
    memories = [Memory(0), Memory(0)]

    def targets(gpus: float) -> list[int]:
        room = {"cpu": 64.0, "gpu": gpus}
        return [
            found.target
            for found in decide_all(places, line, memories, room=room, now=0.0, drain_seconds=DRAIN)
        ]

    assert targets(8) == [8, 0]
    assert targets(1) == [1, 64]
    assert targets(0) == [0, 64]
