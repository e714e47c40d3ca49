"""The time left is told from tokens, by the model that has most left, or not at all."""

import pytest

from corpusmill.jobs.progress.tally import Tally
from corpusmill.pipeline.engine.messages import EngineState, PoolState


def state(*pools: tuple[int, int | None], workers: int = 1) -> EngineState:
    """Pools by (tokens done, tokens left); a fifth more goes through a model than its queue counts."""
    found = tuple(
        PoolState(f"m{i}", 0, workers, 0, tokens=done * 6 // 5, done_tokens=done, left_tokens=left)
        for i, (done, left) in enumerate(pools)
    )
    return EngineState(found, sum(pool.tokens for pool in found))


def test_nothing_is_said_before_every_model_has_done_something() -> None:
    """Neither without workers, nor while one model has no rate yet."""
    tally = Tally((), (), now=0.0)
    tally.observe(state((0, None), workers=0), now=10.0)
    assert tally.seconds_left is None
    tally.observe(state((0, 100), (0, 100)), now=20.0)
    tally.observe(state((50, 50), (0, 100)), now=30.0)
    assert tally.seconds_left is None
    assert tally.progress().tokens_expected is None


def test_the_slowest_model_counts_at_its_rate_of_the_last_minute() -> None:
    """100 tokens a second for a while, then 10: what is left is told by the 10."""
    tally = Tally((), (), now=0.0)
    for second in range(101):
        tally.observe(state((100 * second, 20_000 - 100 * second), (second + 1, 0)), now=float(second))
    assert tally.seconds_left == pytest.approx(100, rel=0.01)
    for second in range(1, 121):
        done = 10_000 + 10 * second
        tally.observe(state((done, 20_000 - done), (101, 0)), now=100.0 + second)
    assert tally.seconds_left == pytest.approx((20_000 - 11_200) / 10, rel=0.02)


def test_expected_tokens_are_of_the_same_kind_as_those_done() -> None:
    """Special tokens and windows included, for all models."""
    tally = Tally((), (), now=0.0)
    tally.observe(state((500, 500), (100, 900)), now=1.0)
    assert tally.progress().tokens_expected == 1_200 + 1_200


def test_a_model_that_stands_still_has_no_time_left_to_tell() -> None:
    """No division by nothing, and no promise."""
    tally = Tally((), (), now=0.0)
    for second in range(100):
        tally.observe(state((500, 500)), now=float(second))
    assert tally.seconds_left is None
