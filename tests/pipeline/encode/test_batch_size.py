"""What a GPU worker concludes from what it measures; a stand-in measures here."""

from typing import Any

import pytest
import torch

from corpusmill.models import PackedTokens
from corpusmill.pipeline.encode import batch_size
from corpusmill.pipeline.encode.batch_size import GIB, fit_batch_size, probe_batch


class Card:
    """So many bytes free, and a batch takes so many of each token; more than is free is out of memory."""

    def __init__(self, patch: pytest.MonkeyPatch, *, free: int, per_token: int) -> None:
        self.free, self.per_token, self.sizes = free, per_token, []
        patch.setattr(batch_size, "peak_bytes", self.peak_bytes)
        patch.setattr(batch_size, "free_bytes", lambda share: int(share * free))
        patch.setattr(torch.cuda, "empty_cache", lambda: None)

    def run(self, packed: PackedTokens) -> None:
        self.sizes.append(len(packed.input_ids))
        if self.per_token * len(packed.input_ids) > self.free:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def peak_bytes(self, run: Any, packed: PackedTokens) -> int:
        run(packed)
        return self.per_token * len(packed.input_ids)


def test_a_batch_that_fits_has_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sizes are measured, each in its second run: one-time allocations do not count."""
    card = Card(monkeypatch, free=100 * GIB, per_token=50_000)
    assert fit_batch_size(card.run, wanted=65_536, max_length=512) == (65_536, None)
    assert card.sizes == [2048, 2048, 4096, 4096, 16_384, 16_384]


def test_a_smaller_batch_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches of 65,536 tokens at 0.1 MB each are 19.5 GB."""
    card = Card(monkeypatch, free=8 * GIB, per_token=10**5)
    assert fit_batch_size(card.run, wanted=65_536, max_length=512) == (
        16_384,
        "takes batches of 16384 tokens instead of 65536: 3 batches of 65536 take 18.3 GiB, "
        "and 8.0 GiB are free",
    )


def test_a_share_of_a_card_is_a_share_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models on one card have half of it each."""
    card = Card(monkeypatch, free=24 * GIB, per_token=10**5)
    assert fit_batch_size(card.run, wanted=65_536, max_length=512)[0] == 65_536
    assert fit_batch_size(card.run, wanted=65_536, max_length=512, share=0.5)[0] == 32_768


def test_a_card_that_is_full_gets_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the probes fit; halving does the rest."""
    card = Card(monkeypatch, free=10**8, per_token=10**5)
    tokens, note = fit_batch_size(card.run, wanted=65_536, max_length=512)
    assert (tokens, note) == (
        512,
        "takes batches of 512 tokens instead of 65536: 0.1 GiB are free",
    )


def test_a_small_batch_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If fewer tokens are wanted than a probe has."""
    card = Card(monkeypatch, free=1, per_token=1)
    assert fit_batch_size(card.run, wanted=2048, max_length=512) == (2048, None)
    assert card.sizes == []


def test_another_failure_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that cannot run at all should not start."""
    Card(monkeypatch, free=1, per_token=1)

    def run(_: PackedTokens) -> None:
        raise ValueError("no such layer")

    with pytest.raises(ValueError, match="no such layer"):
        fit_batch_size(run, wanted=65_536, max_length=512)


@pytest.mark.parametrize(
    ("tokens", "max_length", "lengths"), [(2048, 512, [128] * 16), (100, 30, [30] * 3), (5, 64, [64])]
)
def test_probes_are_of_ordinary_length(tokens: int, max_length: int, lengths: list[int]) -> None:
    """As long as most documents, or as long as the model takes."""
    assert probe_batch(tokens, max_length).lengths.tolist() == lengths
