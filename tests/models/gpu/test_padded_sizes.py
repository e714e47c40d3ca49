"""The sizes that batches are padded to: few, close, and a matter of the batch alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.gpu.padded_encoder import limit_of
from corpusmill.models.gpu.padded_sizes import (
    FEWEST_SEQUENCES,
    FEWEST_TOKENS,
    LARGEST,
    LinearMap,
    PaddedSize,
    launch_bound,
    padded_size,
    padded_tokens,
)

lengths = st.lists(st.integers(1, 512), min_size=1, max_size=64)


def size_of(each: list[int], positions: int = 512) -> PaddedSize:
    return padded_size(tokens=sum(each), sequences=len(each), longest=max(each), positions=positions)


@given(lengths)
def test_a_bucket_holds_the_batch_and_its_padding(each: list[int]) -> None:
    """Tokens, sequences with those that padding makes, and the longest."""
    found = size_of(each)
    pieces = -(-(found.tokens - sum(each)) // found.piece)
    assert found.tokens >= sum(each)
    assert found.sequences >= len(each) + pieces
    assert max(each) <= found.longest <= 512
    assert found.piece <= found.longest


@given(st.integers(1, 10**6))
def test_padding_is_bounded(tokens: int) -> None:
    """An eighth of the batch, beyond the smallest size; a size is its own."""
    found = padded_tokens(tokens)
    assert tokens <= found <= max(FEWEST_TOKENS, tokens + tokens // 8 + 1)
    assert padded_tokens(found) == found
    assert found % 8 == 0


@given(lengths)
def test_sequences_are_bounded_too(each: list[int]) -> None:
    """Empty sequences cost an attention kernel a little each."""
    found = size_of(each)
    assert found.sequences <= max(FEWEST_SEQUENCES, 2 * (len(each) + (found.tokens - sum(each)) // 64 + 1))


def test_there_are_few() -> None:
    """Of all batches that are padded at all, at most eight token counts a doubling."""
    counts = {padded_tokens(tokens) for tokens in range(1, LARGEST + 1)}
    assert len(counts) == 1 + 8 * (LARGEST // FEWEST_TOKENS).bit_length() - 8
    longest = {padded_size(tokens=512, sequences=1, longest=n, positions=512).longest for n in range(1, 513)}
    assert longest == {128, 256, 512}


@given(st.integers(1, 100), st.integers(1, 100))
def test_few_positions_bound_the_longest(positions: int, longest: int) -> None:
    """Padding has no more positions than the model."""
    longest = min(longest, positions)
    found = padded_size(tokens=longest, sequences=1, longest=longest, positions=positions)
    assert longest <= found.longest == positions
    assert found.piece <= positions


@given(st.integers(1, 10**8), st.integers(1, 10**6), st.integers(1, 10_000))
def test_a_dearer_model_waits_less(weights: int, values: int, calls: int) -> None:
    """The limit falls with a token's work, rises with the kernels, and is a size of its own, or 0."""
    one = launch_bound([LinearMap(weights, values)], calls=calls, bytes_per_value=2)
    assert launch_bound([LinearMap(2 * weights, 2 * values)], calls=calls, bytes_per_value=2) <= one
    assert launch_bound([LinearMap(weights, values)], calls=2 * calls, bytes_per_value=2) >= one
    assert one == 0 or one == padded_tokens(one) <= LARGEST


def test_a_model_without_maps_is_never_padded() -> None:
    """As one whose layers are none of ours."""
    assert launch_bound([], calls=100, bytes_per_value=2) == 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_narrow_deep_models_wait_longest(name: str) -> None:
    """At base size MobileBERT's batches of tens of thousands of tokens do, others' of some thousands."""
    import torch
    import transformers
    from support.tiny_checkpoints import CLASS_PREFIXES

    raw = getattr(transformers, f"{CLASS_PREFIXES[name]}Config")().to_dict()
    with torch.device("meta"):
        encoder = ARCHITECTURES[name].encoder(ARCHITECTURES[name].config(raw))
    limit = limit_of(encoder, dtype=torch.bfloat16)
    assert (limit == LARGEST) if name == "mobilebert" else (8_192 <= limit <= LARGEST)
