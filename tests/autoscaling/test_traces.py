"""On every trace: nearly as fast as the fastest, at no more than Ray's default's cost."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from support.scalers import Fixed, Ours, RayDefault
from support.simulation import Trace, World
from support.traces import CPU, GPU, PAIRS, TRACES, fed, heavy, light, tail, thousand


@dataclass(frozen=True)
class Played:
    """A trace that was played, and when all was done."""

    world: World
    seconds: float


PARAMETERS = [pytest.param(make, marks=pytest.mark.slow if make is thousand else ()) for make in TRACES]


@pytest.mark.parametrize("make", PARAMETERS)
def test_ours_is_as_fast_and_costs_less(make: Callable[[], Trace]) -> None:
    """Within 10 % of the fastest; worker-hours within 5 % of Ray's default, below the fixed pool's."""
    trace = make()
    worlds = [World(trace) for _ in range(3)]
    fixed = worlds[0].run(Fixed())
    ray = worlds[1].run(RayDefault(worlds[1]))
    ours = worlds[2].run(Ours(worlds[2]))
    assert ours.seconds <= 1.10 * min(fixed.seconds, ray.seconds)
    assert ours.worker_seconds <= 1.05 * ray.worker_seconds
    assert ours.worker_seconds < fixed.worker_seconds


@pytest.mark.parametrize("make", PAIRS)
@pytest.mark.parametrize("slow_first", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_slow_pool_beside_a_fast_one_never_delays_it(
    make: Callable[..., Trace], slow_first: bool, seed: int
) -> None:
    """Done no later than by the fast pool alone, but for what a unit takes longer or shorter than another."""
    alone, both = pair(make, slow_first=slow_first, seed=seed)
    assert both.seconds <= 1.005 * alone.seconds + 2


@pytest.mark.parametrize("make", [light, tail])
def test_slow_workers_are_not_started_for_what_the_fast_pool_drains_in_time(
    make: Callable[..., Trace],
) -> None:
    """They would cost hours and end nothing sooner."""
    _, both = pair(make)
    (cpu,) = (pool for pool in both.world.pools if pool.model.kind == "cpu")
    assert (cpu.worker_seconds, cpu.done_units) == (0.0, 0)


@pytest.mark.parametrize("make", [heavy, fed])
def test_slow_workers_help_where_there_is_more_than_the_fast_pool_can_do(make: Callable[..., Trace]) -> None:
    """Forty of a hundredth each are a fifth of two GPU workers: nearly that much sooner."""
    alone, both = pair(make)
    (cpu,) = (pool for pool in both.world.pools if pool.model.kind == "cpu")
    assert cpu.done_units > 0
    assert both.seconds <= (0.87 if make is heavy else 0.95) * alone.seconds


def pair(make: Callable[..., Trace], *, slow_first: bool = False, seed: int = 0) -> tuple[Played, Played]:
    """A trace with the fast pool alone, and with the slow one beside it."""
    return played(make(GPU), seed), played(make(*((CPU, GPU) if slow_first else (GPU, CPU))), seed)


def played(trace: Trace, seed: int) -> Played:
    """How our policy did."""
    world = World(trace, seed)
    return Played(world, world.run(Ours(world)).seconds)
