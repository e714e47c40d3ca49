"""Options of embeddings: how vectors are made, in which numbers they are written, what goes before a text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.running import encoded

from corpusmill.models import EmbeddingOptions, PackedTokens, load_model
from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.tasks.quantization import Calibration, quantized
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

Model = Callable[..., ModelSpec]
Checkpoints = Callable[..., Path]
TEXTS = ["the water runs to the old house", None, "", "good night"]
LONG = "they watch it all night and the water runs to the old house by the river " * 3


def alone(folder: Path, text: str, **options: Any) -> Any:
    """A model's vector of one text, tokenized and run by itself."""
    model = load_model(folder, task="embedding", embedding=EmbeddingOptions(**options))
    ids = load_tokenizer(str(folder)).encode(text).ids
    return model(PackedTokens.from_sequences([ids])).embeddings[0].numpy()


def rows(table: pa.Table) -> list[Any]:
    return [None if row is None else np.array(row) for row in table["embedding"].to_pylist()]


@pytest.mark.parametrize(
    "options",
    [
        {},
        *({"pooling": pooling} for pooling in ("cls", "mean", "mean_sqrt_len", "weightedmean", "lasttoken")),
        {"pooling": "max", "normalize": True},
        {"pooling": "pooler"},
        {"dimensions": 8},
        {"dimensions": 8, "normalize": True},
        {"layer": -2},
        {"layer": 0, "pooling": "lasttoken"},
    ],
    ids=str,
)
def test_options_reach_the_model(checkpoint: Checkpoints, model: Model, options: dict[str, Any]) -> None:
    """The column has the dimension that comes of them."""
    folder = checkpoint("embedding")
    table = encoded(model(folder, "embedding", max_length=64, **options), text=TEXTS)
    assert table.schema == pa.schema([("embedding", pa.list_(pa.float32(), options.get("dimensions", 32)))])
    for row, text in zip(rows(table), TEXTS, strict=True):
        assert (row is None) == (text is None)
        if text is not None:
            np.testing.assert_allclose(row, alone(folder, text, **options), atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "size", "kind"),
    [
        ("float16", 32, pa.float16()),
        ("int8", 32, pa.int8()),
        ("uint8", 32, pa.uint8()),
        ("binary", 4, pa.int8()),
        ("ubinary", 4, pa.uint8()),
    ],
)
def test_vectors_are_written_in_fewer_bits(
    checkpoint: Checkpoints, model: Model, dtype: str, size: int, kind: pa.DataType
) -> None:
    """The codes of the same vectors; the column says how to read them, nulls stay null."""
    folder = checkpoint("embedding")
    full = rows(encoded(model(folder, "embedding", normalize=True), text=TEXTS))
    table = encoded(model(folder, "embedding", normalize=True, output_dtype=dtype), text=TEXTS)
    field = table.schema.field("embedding")
    assert field.type == pa.list_(kind, size)
    calibration = Calibration.of(None, dimension=32, normalized=True) if "int8" in dtype else None
    for found, vector in zip(rows(table), full, strict=True):
        assert (found is None) == (vector is None)
        if vector is not None:
            expected = quantized(vector[None].astype(np.float32), dtype, calibration)[0]
            assert np.abs(found.astype(float) - expected.astype(float)).max() <= (1 if calibration else 1e-3)
    if dtype == "float16":
        assert field.metadata is None
        return
    record = json.loads(field.metadata[b"corpusmill.quantization"])
    assert (record["output_dtype"], record["dimension"]) == (dtype, 32)
    assert ("low" in record) == (calibration is not None)


def test_eight_bits_need_a_range_where_vectors_have_any_length(checkpoint: Checkpoints, model: Model) -> None:
    """There is no default for them; a given one is taken and recorded."""
    folder = checkpoint("embedding")
    with pytest.raises(OptionError, match="is required for 8 bits"):
        model(folder, "embedding", output_dtype="int8")
    table = encoded(model(folder, "embedding", output_dtype="int8", calibration=[-2, 2.5]), text=TEXTS)
    record = json.loads(table.schema.field(0).metadata[b"corpusmill.quantization"])
    assert (record["low"], record["high"]) == (-2, 2.5)


@pytest.mark.parametrize("combine", ["mean", "max", "first"])
@pytest.mark.parametrize("normalize", [False, True])
def test_windows_are_combined(checkpoint: Checkpoints, model: Model, combine: str, normalize: bool) -> None:
    """Weighted with their own numbers of tokens, and of unit length again where vectors are."""
    folder = checkpoint("embedding")
    spec = model(folder, "embedding", max_length=14, stride=4, combine=combine, normalize=normalize)
    ids = load_tokenizer(str(folder)).encode(LONG).ids
    inner, first, last = ids[1:-1], ids[0], ids[-1]
    parts = [inner[start : start + 12] for start in range(0, len(inner) - 4, 8)]
    encoder = load_model(folder, task="embedding", embedding=EmbeddingOptions(normalize=normalize))
    each = np.stack(
        [encoder(PackedTokens.from_sequences([[first, *part, last]])).embeddings[0].numpy() for part in parts]
    )
    weights = np.array([[len(part)] for part in parts], float)
    expected = {
        "mean": (each * weights).sum(0) / weights.sum(),
        "max": each.max(0),
        "first": each[0],
    }[combine]
    if normalize:
        expected = expected / np.linalg.norm(expected)
    found = rows(encoded(spec, text=["the", LONG]))
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    np.testing.assert_allclose(found[0], alone(folder, "the", normalize=normalize), atol=1e-5)


def test_a_prompt_stands_before_each_text(checkpoint: Checkpoints, model: Model) -> None:
    """As if the corpus had it; also before an empty text, and where it is cut."""
    folder = checkpoint("embedding")
    table = encoded(model(folder, "embedding", prompt="they say: ", max_length=12), text=[*TEXTS, LONG])
    plain = encoded(
        model(folder, "embedding", max_length=12),
        text=[None if text is None else "they say: " + text for text in [*TEXTS, LONG]],
    )
    assert [row is None for row in rows(table)] == [row is None for row in rows(plain)]
    for found, expected in zip(rows(table), rows(plain), strict=True):
        if expected is not None:
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_checkpoints_default_prompt_is_its_own(
    checkpoint: Checkpoints, model: Model, tmp_path: Path
) -> None:
    """What sentence-transformers would add by itself; an empty prompt leaves it out."""
    folder = shutil.copytree(checkpoint("embedding", sentence_transformers=True), tmp_path / "prompted")
    settings = {"prompts": {"query": "they say: ", "passage": "write: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    own, given, none = (
        rows(encoded(model(folder, "embedding", **options), text=["the water"]))[0]
        for options in ({}, {"prompt": "they say: "}, {"prompt": ""})
    )
    assert np.array_equal(own, given)
    np.testing.assert_allclose(none, alone(folder, "the water"), atol=1e-5)
    assert not np.allclose(own, none, atol=1e-3)


@pytest.mark.parametrize(
    ("file", "content", "options", "words"),
    [
        ("1_Pooling/config.json", {"include_prompt": False}, {"prompt": "say: "}, "leaves out the prompt"),
        (
            "config_sentence_transformers.json",
            {"prompts": {"query": "q: "}, "default_prompt_name": "passage"},
            {},
            "expected default_prompt_name to be one of its prompts .*, got 'passage'",
        ),
    ],
)
def test_prompts_that_would_be_ignored_are_refused(
    checkpoint: Checkpoints,
    model: Model,
    tmp_path: Path,
    file: str,
    content: dict[str, Any],
    options: dict[str, Any],
    words: str,
) -> None:
    """With the option's name."""
    folder = shutil.copytree(checkpoint("embedding", sentence_transformers=True), tmp_path / "prompted")
    path = folder / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | content))
    with pytest.raises(OptionError, match=words) as caught:
        model(folder, "embedding", **options)
    assert caught.value.field == "prompt"
