"""Weights of words: SPLADE's definition, sparse encoders' folders, and a bounded memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_checkpoints import write_checkpoint
from torch import Tensor

from corpusmill.models import (
    ConfigError,
    PackedTokens,
    SparseEmbeddingOutput,
    TensorError,
    load_model,
    read_checkpoint,
)
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.ops import vocabulary
from corpusmill.models.ops.vocabulary import largest, total

Checkpoints = Callable[[str, str], Path]
Pool = Callable[..., Tensor]
SEQUENCES = [[2, 90, 91, 3], [2, 300, 301, 302, 303, 3], [2, 80, 81, 3], [5], [2, *range(100, 160), 3]]
LENGTHS = [3, 3, 3, 1, 1, 40, 3, 9, 9]


def weigh(folder: Path, **options: Any) -> Tensor:
    output = load_model(folder, "sparse-embedding", **options)(PackedTokens.from_sequences(SEQUENCES))
    assert isinstance(output, SparseEmbeddingOutput)
    assert output.weights.dtype == torch.float32
    return output.weights


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_a_sparse_encoders_own_pooling(
    tmp_path: Path, reference: Any, architecture: str, strategy: str, activation: str
) -> None:
    """Largest or sum over the tokens of log(1 + relu), taken once or twice."""
    splade = {"pooling_strategy": strategy, "activation_function": activation, "chunk_size": 3}
    write_checkpoint(tmp_path, architecture, "fill-mask", splade=splade)
    checkpoint = read_checkpoint(tmp_path)
    assert (checkpoint.task, checkpoint.default_job_task) == ("sparse-embedding", "sparse-embedding")
    assert (checkpoint.max_seq_length, checkpoint.embedding_dimension) == (64, 32)
    alone = reference(checkpoint)
    scores = [alone(ids).logits[0].relu().log1p() for ids in SEQUENCES]
    scores = [x_LV.log1p() for x_LV in scores] if activation == "log1p_relu" else scores
    wanted = torch.stack([x_LV.amax(0) if strategy == "max" else x_LV.sum(0) for x_LV in scores])
    ours = weigh(tmp_path)
    assert ours.shape == (len(SEQUENCES), checkpoint.vocab_size)
    assert (ours - wanted).abs().max() <= 1e-5 * wanted.max()
    assert (ours == 0).any()


@pytest.mark.parametrize("task", ["fill-mask", "pretraining"])
def test_any_masked_language_model_gives_weights(checkpoints: Checkpoints, task: str) -> None:
    """Without a sparse encoder's files the way is SPLADE's."""
    folder = checkpoints("bert", task)
    model = load_model(folder)
    output = model(PackedTokens.from_sequences([SEQUENCES[1]]))
    logits_TV = output.logits if task == "fill-mask" else output.prediction_logits
    wanted = logits_TV.relu().log1p().amax(0)
    torch.testing.assert_close(weigh(folder)[1], wanted, rtol=1e-5, atol=1e-5)


def test_a_checkpoint_without_word_scores_is_refused(checkpoints: Checkpoints) -> None:
    """A plain encoder has no output matrix, and none is made up."""
    with pytest.raises(TensorError, match=r"'sparse-embedding'.*\n.*missing: cls\.predictions"):
        weigh(checkpoints("bert", "base"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_slices_and_neighbours_change_nothing(
    checkpoints: Checkpoints, architecture: str, dtype: str
) -> None:
    """A token at a time, each sequence alone, or all at once."""
    folder = checkpoints(architecture, "fill-mask")
    whole = weigh(folder, dtype=dtype)
    tolerance = (1e-5 if dtype == "float32" else 0.02) * whole.max()
    model = load_model(folder, "sparse-embedding", dtype)
    for index, ids in enumerate(SEQUENCES):
        alone = model(PackedTokens.from_sequences([ids])).weights[0]
        assert (whole[index] - alone).abs().max() <= tolerance
    packed = PackedTokens.from_sequences(SEQUENCES)
    states_TD = load_model(folder, "base", dtype)(packed).last_hidden_state
    with torch.inference_mode():
        sliced = largest(states_TD, packed, model.head.words, vocabulary=whole.shape[1], at_once=1)
    assert (sliced.relu().log1p() - whole).abs().max() <= tolerance


@pytest.mark.parametrize("pool", [largest, total])
@pytest.mark.parametrize("tokens", [1, 2, 7, 40, 10**6])
def test_slices_cover_each_token_once(pool: Pool, tokens: int) -> None:
    """Runs of equal lengths, sequences longer than a slice, never more tokens than allowed."""
    packed = PackedTokens.from_sequences([[1] * n for n in LENGTHS])
    x_TV = torch.randn(sum(LENGTHS), 11, generator=torch.Generator().manual_seed(3))
    seen: list[int] = []

    def score(x: Tensor) -> Tensor:
        seen.append(len(x))
        return 2 * x

    ours = pool(x_TV, packed, score, vocabulary=11, at_once=11 * tokens)
    parts = packed.split(2 * x_TV)
    wanted = torch.stack([x_LV.amax(0) if pool is largest else x_LV.sum(0) for x_LV in parts])
    torch.testing.assert_close(ours, wanted)
    assert sum(seen) == sum(LENGTHS)
    assert max(seen) <= tokens


def test_scores_of_a_slice_stay_small() -> None:
    """BERT's vocabulary: 16 MiB of float32 at once, whatever the batch."""
    assert vocabulary.SCORES_AT_ONCE * 4 <= 2**24


@pytest.mark.parametrize("pool", [largest, total])
def test_a_poisoned_neighbour_stays_where_it_is(pool: Pool) -> None:
    """In the same slice, and visible in its own row."""
    packed = PackedTokens.from_sequences([[1] * 3] * 3)
    x_TV = torch.ones(9, 4)
    x_TV[4, 1] = float("nan")
    finite = torch.isfinite(pool(x_TV, packed, lambda x: x, vocabulary=4))
    assert finite.sum() == 11
    assert not finite[1, 1]


def test_a_sparse_encoder_is_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    """It fills masks, and embeds as a plain encoder does."""
    write_checkpoint(tmp_path, "distilbert", "fill-mask", splade={})
    packed = PackedTokens.from_sequences(SEQUENCES)
    assert load_model(tmp_path, "fill-mask")(packed).logits.shape[0] == sum(map(len, SEQUENCES))
    states = load_model(tmp_path, "base")(packed).last_hidden_state
    means = torch.stack([x_LD.mean(0) for x_LD in packed.split(states)])
    ours = load_model(tmp_path, "embedding")(packed).embeddings
    torch.testing.assert_close(ours, means, rtol=0, atol=1e-5)


def retyped(folder: Path, first: str, second: str, **settings: Any) -> Path:
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps([modules[0] | {"type": first}, modules[1] | {"type": second}]))
    lengths = {"max_seq_length": 64, **settings}
    (folder / "sentence_bert_config.json").write_text(json.dumps(lengths))
    return folder


BASE = "sentence_transformers.base.modules.transformer.Transformer"
SPARSE = "sentence_transformers.sparse_encoder."


@pytest.mark.parametrize(
    ("first", "second", "settings"),
    [
        (BASE, f"{SPARSE}modules.splade_pooling.SpladePooling", {"transformer_task": "fill-mask"}),
        (f"{SPARSE}models.MLMTransformer.MLMTransformer", f"{SPARSE}models.SpladePooling.SpladePooling", {}),
    ],
)
def test_names_of_other_releases(tmp_path: Path, first: str, second: str, settings: dict[str, Any]) -> None:
    """Modules have moved; since 5.4 a Transformer's own file says that it is a masked language model."""
    write_checkpoint(tmp_path, "bert", "fill-mask", splade={"pooling_strategy": "sum"})
    wanted = weigh(tmp_path)
    retyped(tmp_path, first, second, **settings)
    assert read_checkpoint(tmp_path).task == "sparse-embedding"
    assert torch.equal(weigh(tmp_path), wanted)


@pytest.mark.parametrize(
    ("first", "second", "settings", "message"),
    [
        (BASE, f"{SPARSE}models.SpladePooling", {}, "sentence_bert_config.json: transformer_task: expected"),
        (
            BASE,
            f"{SPARSE}models.SpladePooling",
            {"transformer_task": "feature-extraction"},
            "transformer_task: expected 'fill-mask', got 'feature-extraction'",
        ),
        (
            BASE,
            "sentence_transformers.models.Pooling",
            {"transformer_task": "fill-mask"},
            "transformer_task: expected 'feature-extraction', got 'fill-mask'",
        ),
        (
            f"{SPARSE}models.MLMTransformer",
            "sentence_transformers.models.Pooling",
            {},
            "expected Transformer, Pooling, .* or MLMTransformer and SpladePooling; got MLMTransformer, Pool",
        ),
        *(
            (
                f"{SPARSE}models.MLMTransformer",
                other,
                {},
                f"sparse_encoder's MLMTransformer and SpladePooling; got '{other}', which this version does",
            )
            for other in (
                f"{SPARSE}models.SparseStaticEmbedding",
                f"{SPARSE}models.SparseAutoEncoder",
                "sentence_transformers.models.CNN",
            )
        ),
    ],
)
def test_other_modules_are_refused(
    tmp_path: Path, first: str, second: str, settings: dict[str, Any], message: str
) -> None:
    """A chain that would have to be guessed is an error."""
    write_checkpoint(tmp_path, "bert", "fill-mask", splade={})
    retyped(tmp_path, first, second, **settings)
    with pytest.raises(ConfigError, match=message):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("splade", "message"),
    [
        ({"pooling_strategy": "mean"}, "pooling_strategy: expected 'max' or 'sum', got 'mean'"),
        ({"activation_function": "gelu"}, "activation_function: expected 'relu' or 'log1p_relu', got 'gelu'"),
    ],
)
def test_values_of_splade_pooling_that_are_not_known(
    tmp_path: Path, splade: dict[str, Any], message: str
) -> None:
    """With the file and what is known."""
    write_checkpoint(tmp_path, "bert", "fill-mask", splade=splade)
    with pytest.raises(ConfigError, match=rf"1_SpladePooling/config\.json: {message}"):
        read_checkpoint(tmp_path)
