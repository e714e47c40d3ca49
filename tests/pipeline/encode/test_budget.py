"""The memory model: a line over all probes, and batches that fit under it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.encode.batch_size import (
    MIN_TOKENS,
    USABLE_SHARE,
    MemoryModel,
    Probe,
    largest_fitting,
)

probes = st.lists(
    st.builds(Probe, st.integers(1, 10**6), st.integers(0, 10**11)),
    min_size=2,
    max_size=5,
    unique_by=lambda probe: probe.tokens,
)


@given(probes)
def test_no_probe_lies_above_the_line(found: list[Probe]) -> None:
    """Whatever noise is in them; more tokens never take less."""
    model = MemoryModel.fit(found)
    assert all(model.size(probe.tokens) >= probe.size * (1 - 1e-9) for probe in found)
    assert model.fixed >= 0
    assert model.per_token >= 0


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.lists(st.integers(1, 10**5), min_size=2, unique=True))
def test_a_line_is_found_again(fixed: int, per_token: int, sizes: list[int]) -> None:
    """Probes without noise give the line that they lie on."""
    model = MemoryModel.fit([Probe(tokens, fixed + per_token * tokens) for tokens in sizes])
    assert model.per_token == pytest.approx(per_token, abs=1e-6)
    assert model.fixed == pytest.approx(fixed, rel=1e-6, abs=1)


@given(
    st.integers(1, 2**20),
    st.integers(0, 10**10),
    st.floats(0, 10**6),
    st.integers(0, 10**12),
    st.integers(1, 4),
)
def test_what_is_chosen_fits(asked: int, fixed: int, per_token: float, free: int, batches: int) -> None:
    """Or is the least there is; and twice as much would not fit, or was not asked for."""
    model = MemoryModel(fixed, per_token)
    tokens = largest_fitting(asked, model, free=free, batches=batches)
    assert min(asked, MIN_TOKENS) <= tokens <= asked
    assert tokens <= MIN_TOKENS or batches * model.size(tokens) <= USABLE_SHARE * free
    if tokens < asked:
        assert batches * model.size(min(asked, 2 * tokens + 1)) > USABLE_SHARE * free


def test_batches_are_halved_so_that_like_machines_cut_alike() -> None:
    """A tenth less memory is mostly no difference, and else a half."""
    model = MemoryModel(10**8, 10**5)
    sizes = {largest_fitting(65_536, model, free=free * 10**8, batches=3) for free in range(1, 400)}
    assert sizes == {MIN_TOKENS * 2**n for n in range(8)}


@pytest.mark.parametrize("found", [[], [Probe(5, 1)], [Probe(5, 1), Probe(5, 2)]])
def test_one_size_gives_no_line(found: list[Probe]) -> None:
    """A line needs two."""
    with pytest.raises(ValueError, match="at least two sizes"):
        MemoryModel.fit(found)
