"""The next piece goes to who is done with it first, and to nobody who would be late with it."""

from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.autoscaling.handing import Hands, taker

PIECE = 1_000.0


def hands(rate: float, *, ready: int = 1, held: float = 0.0, free: float | None = 0.0) -> Hands:
    return Hands(rate, ready, 0, 10.0, held, free)


def test_like_pools_take_turns() -> None:
    """The one whose worker holds less is next; with the first of the job file where they are equal."""
    assert taker(PIECE, 9 * PIECE, [hands(10.0), hands(10.0)]) == 0
    assert taker(PIECE, 9 * PIECE, [hands(10.0, held=PIECE, free=PIECE), hands(10.0)]) == 1


def test_a_slow_worker_helps_while_there_is_much_and_not_at_the_end() -> None:
    """A hundred times slower: it takes a piece while the fast pool has more than a hundred to do."""
    full = hands(1_000.0, held=2 * PIECE, free=None)
    slow = hands(10.0)
    assert taker(PIECE, 200 * PIECE, [full, slow]) == 1
    assert taker(PIECE, 97 * PIECE, [full, slow]) is None
    assert taker(PIECE, 97 * PIECE, [hands(1_000.0), slow]) == 0


def test_who_is_alone_takes_everything() -> None:
    """Nobody else works, nor will: there is nothing to wait for."""
    nobody = Hands(1_000.0, 0, 0, 10.0, 0.0, None)
    assert taker(PIECE, PIECE, [nobody, hands(0.1)]) == 1


def test_a_slow_worker_works_while_the_fast_pool_starts() -> None:
    """If it is done by when that one would have started and done all."""
    starting = Hands(1_000.0, 0, 1, 10.0, 0.0, None)
    assert taker(PIECE, PIECE, [starting, hands(PIECE / 8)]) == 1
    assert taker(PIECE, PIECE, [starting, hands(PIECE / 20)]) is None


@given(
    rates=st.tuples(st.floats(1, 1e5), st.floats(1, 1e5)),
    ready=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    waiting=st.floats(PIECE, 1e8),
)
def test_somebody_takes_what_waits_while_all_are_free(
    rates: tuple[float, float], ready: tuple[int, int], waiting: float
) -> None:
    """No queue stands still: with every worker idle the next piece is taken."""
    pools = [hands(rate, ready=count) for rate, count in zip(rates, ready, strict=True)]
    assert taker(PIECE, waiting, pools) is not None
