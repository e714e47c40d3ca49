"""On every trace: nearly as fast as the fastest, at no more than Ray's default's cost."""

from collections.abc import Callable

import pytest
from support.scalers import Fixed, Ours, RayDefault
from support.simulation import Trace, World
from support.traces import TRACES, thousand

HOURS = {
    "burst": 28.0,
    "ramp": 23.6,
    "sawtooth": 21.0,
    "noise": 25.7,
    "two models": 23.4,
    "slow start": 25.1,
    "1,000 workers": 306.7,
    "held back": 35.1,
}
"""Worker-hours of 2026-11-26; a policy that does more for a machine of one's own costs a cluster no more."""
PARAMETERS = [pytest.param(make, marks=pytest.mark.slow if make is thousand else ()) for make in TRACES]


@pytest.mark.slow
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
    assert ours.worker_seconds <= 1.05 * 3600 * HOURS[trace.name]
