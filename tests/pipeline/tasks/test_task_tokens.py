"""Tasks that say something of each token: vectors, words behind masks, weights of words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.running import encoded
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.spec import ModelSpec

Model = Callable[..., ModelSpec]
Checkpoints = Callable[..., Path]
TEXTS = ["the water runs to the old house", None, "", "Good n\u00efght!", "the water runs to the old house"]
LONG = (
    "they book watch book it book all book night book and book the book water book runs book to book the book"
)
MASKED = ["the [MASK] runs", None, "", "no mask", "[MASK] [MASK] of the house [MASK]", "[MASK] " * 10]


@torch.no_grad()
def states(folder: Path, text: str, *, layer: int = -1, max_length: int = 64) -> tuple[Any, Any]:
    """The reference's hidden states of a text's own tokens, and their offsets."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(
        text, truncation=True, max_length=max_length, return_offsets_mapping=True, return_tensors="pt"
    )
    offsets = batch.pop("offset_mapping")[0, 1:-1]
    output = AutoModel.from_pretrained(folder).eval()(**batch, output_hidden_states=True)
    return output.hidden_states[layer][0, 1:-1].numpy(), offsets.tolist()


@pytest.mark.parametrize(
    ("architecture", "layer", "normalize"),
    [("bert", None, None), ("bert", -2, True), ("distilbert", 0, None), ("convbert", None, True)],
)
def test_each_token_has_its_hidden_state(
    checkpoint: Checkpoints, model: Model, architecture: str, layer: int | None, normalize: bool | None
) -> None:
    """Special tokens left out, with the token's place in the text; any layer, unit length if asked."""
    folder = checkpoint("base", architecture)
    options = {
        name: value for name, value in (("layer", layer), ("normalize", normalize)) if value is not None
    }
    table = encoded(model(folder, "token-embedding", max_length=64, **options), text=TEXTS)
    offset = pa.struct([("start", pa.int32()), ("end", pa.int32())])
    assert table.schema == pa.schema(
        [
            ("token_embeddings", pa.list_(pa.list_(pa.float32(), 32))),
            ("token_offsets", pa.list_(offset)),
        ]
    )
    for row, text in zip(table.to_pylist(), TEXTS, strict=True):
        if text is None:
            assert row == {"token_embeddings": None, "token_offsets": None}
            continue
        expected, offsets = states(folder, text, layer=-1 if layer is None else layer)
        if normalize:
            expected = expected / np.linalg.norm(expected, axis=-1, keepdims=True)
        np.testing.assert_allclose(np.array(row["token_embeddings"]).reshape(-1, 32), expected, atol=1e-5)
        assert [[place["start"], place["end"]] for place in row["token_offsets"]] == offsets


def test_token_vectors_of_windows_cover_the_text_once(checkpoint: Checkpoints, model: Model) -> None:
    """In order; each from one of its windows, the first and the last as those windows give them."""
    folder = checkpoint("base")
    table = encoded(model(folder, "token-embedding", max_length=14, stride=4), text=[LONG])
    _, offsets = states(folder, LONG)
    (row,) = table.to_pylist()
    assert [[place["start"], place["end"]] for place in row["token_offsets"]] == offsets
    first, _ = states(folder, LONG, max_length=14)
    # The windows share 4 tokens, of which the first window has 2.
    np.testing.assert_allclose(np.array(row["token_embeddings"])[:10], first[:10], atol=1e-5)
    assert not np.allclose(np.array(row["token_embeddings"])[10], first[10], atol=1e-3)


def test_token_vectors_in_half_precision(checkpoint: Checkpoints, model: Model) -> None:
    """The same numbers, rounded."""
    folder = checkpoint("base")
    half = encoded(model(folder, "token-embedding", output_dtype="float16"), text=TEXTS[:1])
    full = encoded(model(folder, "token-embedding"), text=TEXTS[:1])
    assert half.schema.field(0).type == pa.list_(pa.list_(pa.float16(), 32))
    expected = np.array(full["token_embeddings"].to_pylist()).astype(np.float16)
    assert np.array_equal(np.array(half["token_embeddings"].to_pylist(), np.float16), expected)


@pytest.mark.parametrize(
    ("options", "field"), [({"output_dtype": "int8"}, "output_dtype"), ({"layer": 3}, "layer")]
)
def test_token_embedding_options_that_cannot_be_name_their_field(
    checkpoint: Checkpoints, model: Model, options: dict[str, Any], field: str
) -> None:
    """Before anything runs."""
    with pytest.raises(OptionError, match="expected") as caught:
        model(checkpoint("base"), "token-embedding", **options)
    assert caught.value.field == field


@torch.no_grad()
def words(folder: Path, text: str, top_k: int) -> list[list[tuple[int, float]]]:
    """The reference's likeliest words for each mask."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(text, return_tensors="pt")
    scores = AutoModelForMaskedLM.from_pretrained(folder).eval()(**batch).logits[0].softmax(-1)
    masks = (batch["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0]
    best = [scores[mask].topk(top_k) for mask in masks]
    return [list(zip(found.indices.tolist(), found.values.tolist(), strict=True)) for found in best]


@pytest.mark.slow
@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "mobilebert", "squeezebert", "convbert"])
def test_masks_are_filled_as_by_the_reference(
    checkpoint: Checkpoints, model: Model, architecture: str, top_k: int | None
) -> None:
    """One list a mask, in order, best first; none for a text without a mask; ten for ten."""
    folder = checkpoint("fill-mask", architecture)
    spec = model(folder, "fill-mask", max_length=64, **({} if top_k is None else {"top_k": top_k}))
    table = encoded(spec, text=MASKED)
    prediction = pa.struct([("token", pa.string()), ("token_id", pa.int32()), ("score", pa.float32())])
    assert table.schema == pa.schema([("predictions", pa.list_(pa.list_(prediction)))])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row, text in zip(table["predictions"].to_pylist(), MASKED, strict=True):
        if text is None:
            assert row is None
            continue
        expected = words(folder, text, top_k or 5)
        assert len(row) == text.count("[MASK]")
        assert [[item["token_id"] for item in mask] for mask in row] == [
            [i for i, _ in mask] for mask in expected
        ]
        found = [item["score"] for mask in row for item in mask]
        np.testing.assert_allclose(found, [score for mask in expected for _, score in mask], atol=1e-5)
        assert all(
            item["token"] == tokenizer.convert_ids_to_tokens(item["token_id"])
            for mask in row
            for item in mask
        )


def test_masks_in_windows_are_filled_once_each(checkpoint: Checkpoints, model: Model) -> None:
    """Also those that two windows hold."""
    folder = checkpoint("fill-mask")
    for count in range(1, 40):
        text = "the [MASK] of " * count
        (row,) = encoded(model(folder, "fill-mask", max_length=12, stride=4), text=[text])[
            "predictions"
        ].to_pylist()
        assert len(row) == count


def test_fill_mask_needs_a_mask_token(checkpoint: Checkpoints, model: Model, tmp_path: Path) -> None:
    """Said before anything runs."""
    folder = checkpoint("fill-mask", vocab=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "house"))
    with pytest.raises(OptionError, match=r"expected a tokenizer with the mask token \[MASK\]"):
        model(folder, "fill-mask")


@torch.no_grad()
def weights(folder: Path, text: str, max_length: int = 64) -> Any:
    """SPLADE's definition (Formal et al. 2021) from the reference's logits."""
    batch = AutoTokenizer.from_pretrained(folder)(
        text, return_tensors="pt", truncation=True, max_length=max_length
    )
    logits = AutoModelForMaskedLM.from_pretrained(folder).eval()(**batch).logits[0]
    return torch.log1p(logits.relu()).amax(0).numpy()


def dense(row: list[dict[str, Any]], size: int) -> Any:
    vector = np.zeros(size, np.float32)
    for item in row:
        vector[item["token_id"]] = item["weight"]
    return vector


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_sparse_vectors_are_spladess(checkpoint: Checkpoints, model: Model, architecture: str) -> None:
    """Only weights above zero, by token id; `top_k` keeps the heaviest."""
    folder = checkpoint("fill-mask", architecture)
    table = encoded(model(folder, "sparse-embedding", max_length=64), text=TEXTS)
    few = encoded(model(folder, "sparse-embedding", max_length=64, top_k=7), text=TEXTS)["sparse"].to_pylist()
    item = pa.struct([("token_id", pa.int32()), ("weight", pa.float32())])
    assert table.schema == pa.schema([("sparse", pa.list_(item))])
    for row, short, text in zip(table["sparse"].to_pylist(), few, TEXTS, strict=True):
        if text is None:
            assert row is short is None
            continue
        expected = weights(folder, text)
        np.testing.assert_allclose(dense(row, len(expected)), expected, atol=1e-5)
        assert [x["token_id"] for x in row] == sorted({x["token_id"] for x in row})
        assert all(x["weight"] > 0 for x in row)
        heaviest = sorted(row, key=lambda x: -x["weight"])[:7]
        assert short == sorted(heaviest, key=lambda x: x["token_id"])


@pytest.mark.parametrize("combine", ["max", "mean", "first"])
def test_sparse_vectors_of_windows_are_combined(checkpoint: Checkpoints, model: Model, combine: str) -> None:
    """The greatest weight of each word by default, as pooling over the whole text would take."""
    folder = checkpoint("fill-mask")
    spec = model(folder, "sparse-embedding", max_length=14, stride=4, combine=combine)
    tokens = AutoTokenizer.from_pretrained(folder)(
        LONG,
        max_length=14,
        stride=4,
        truncation=True,
        return_overflowing_tokens=True,
    )["input_ids"]
    reference = AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        each = np.stack(
            [torch.log1p(reference(torch.tensor([ids])).logits[0].relu()).amax(0).numpy() for ids in tokens]
        )
    lengths = np.array([len(ids) - 2 for ids in tokens], float)[:, None]
    expected = {"max": each.max(0), "mean": (each * lengths).sum(0) / lengths.sum(), "first": each[0]}[
        combine
    ]
    rows = encoded(spec, text=["the", LONG])["sparse"].to_pylist()
    np.testing.assert_allclose(dense(rows[1], len(expected)), expected, atol=1e-5)
    np.testing.assert_allclose(dense(rows[0], len(expected)), weights(folder, "the"), atol=1e-5)
