"""Rates and times as they are measured for the policy."""

import pytest

from corpusmill.pipeline.autoscaling.meters import FlowMeter, StartMeter, WorkMeter


def test_the_rate_of_a_worker_follows_its_last_units() -> None:
    """None at first, exact where it is constant, and a new rate takes over."""
    meter = WorkMeter()
    assert meter.rate is None
    for _ in range(10):
        meter.note(3_000, 1.5)
    assert meter.rate == pytest.approx(2_000)
    for _ in range(300):
        meter.note(500, 1.0)
    assert meter.rate == pytest.approx(500, rel=0.05)


def test_a_start_is_expected_to_take_as_long_as_the_last_ones() -> None:
    """A guess before the first."""
    meter = StartMeter()
    assert meter.seconds == 10.0
    meter.note(4.0)
    assert meter.seconds == 4.0
    for _ in range(20):
        meter.note(2.0)
    assert meter.seconds == pytest.approx(2.0, rel=0.01)


def test_a_source_that_is_held_back_shows_what_it_could_give() -> None:
    """100 tokens/s while it may, and it may for half of the time; a free one shows nothing."""
    held, free = FlowMeter(60.0, 0.0), FlowMeter(60.0, 0.0)
    for second in range(1, 121):
        held.note(float(second), 50)
        held.pass_time(float(second), 0.5)
        free.note(float(second), 100)
        free.pass_time(float(second), 0.0)
    assert held.feed_rate == pytest.approx(100, rel=0.02)
    assert held.arrival_rate == pytest.approx(50, rel=0.02)
    assert free.feed_rate is None
    assert free.arrival_rate == pytest.approx(100, rel=0.02)


def test_arrivals_are_forgotten_after_the_window() -> None:
    """A burst counts for one drain time."""
    meter = FlowMeter(60.0, 0.0)
    meter.note(1.0, 6_000)
    meter.pass_time(60.0, 0.0)
    assert meter.arrival_rate == 100
    meter.pass_time(61.5, 0.0)
    assert meter.arrival_rate == 0
