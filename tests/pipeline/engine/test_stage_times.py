"""Where the time went: idle workers wait for input, or for room; what tasks say is added up."""

import pytest

from corpusmill.pipeline.encode.encoded import EncodeStats
from corpusmill.pipeline.engine.stage_times import EncodeClock, UnitClock


def test_idle_workers_wait_or_are_blocked() -> None:
    """It depends on whether the source is held back; nothing is counted before the first call."""
    clock = EncodeClock("m")
    clock.pass_time(100.0, workers=4, ready=3, idle=2, blocked=False)
    clock.pass_time(110.0, workers=4, ready=3, idle=2, blocked=False)
    clock.pass_time(113.0, workers=2, ready=2, idle=1, blocked=True)
    clock.started(5.0, product_rate=200.0)
    clock.started(7.0, product_rate=100.0)
    clock.worked(EncodeStats(1_000, 1, flops=500.0, lengths=(1, 2), seconds=10.0))
    clock.worked(EncodeStats(500, 1, flops=250.0, lengths=(0, 5), seconds=5.0))
    clock.unit_done()
    times = clock.times().rounded()
    assert (times.waiting_seconds, times.blocked_seconds) == (20.0, 3.0)
    assert (times.busy_seconds, times.startup_seconds, times.units) == (15.0, 12.0, 1)
    assert clock.worker_seconds == 46.0
    assert times.tokens_per_second == 100.0
    assert (times.padding_share, times.product_share) == (0.0, 0.25)
    assert times.lengths == (1, 7)


def test_a_rate_that_was_not_measured_gives_no_share() -> None:
    """As for widths that are not computed in int8."""
    clock = EncodeClock("m")
    clock.started(1.0, product_rate=0.0)
    clock.worked(EncodeStats(10, 1, flops=5.0, lengths=(1, 0), seconds=1.0))
    assert clock.times().product_share is None


def test_stages_come_in_the_order_of_the_record_path() -> None:
    """With the seconds of each unit, and the time in which the source had no room."""
    clock = UnitClock()
    clock.unit_arrived({"read": 1.0, "tokenize": 0.5}, 300, since_start=4.0)
    clock.unit_arrived({"read": 2.0, "tokenize": 0.25}, 150, since_start=9.0)
    clock.add("commit", 0.125)
    stages = clock.times([EncodeClock("a").times(), EncodeClock("b").times()], blocked=6.0)
    assert [(stage.stage, stage.model) for stage in stages] == [
        ("read", None),
        ("tokenize", None),
        ("encode", "a"),
        ("encode", "b"),
        ("commit", None),
    ]
    read, tokenize, *_, commit = stages
    assert (read.busy_seconds, read.startup_seconds, read.blocked_seconds, read.units) == (3.0, 4.0, 6.0, 2)
    assert (tokenize.tokens, tokenize.tokens_per_second) == (450, 600.0)
    assert (commit.busy_seconds, commit.units) == (pytest.approx(0.125), 1)
