"""What a caller changes of a checkpoint's way to make vectors, against transformers' hidden states."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoints import write_checkpoint
from torch import Tensor

from corpusmill.models import EmbeddingOptions, OptionError, PackedTokens, load_model, read_checkpoint
from corpusmill.models.architectures import ARCHITECTURES

Checkpoints = Callable[[str, str], Path]
SEQUENCES = [[2, 90, 91, 3], [2, 300, 301, 302, 303, 3], [2, 3], [5], [2, *range(100, 160), 3]]
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda x_LD: x_LD[0],
    "max": lambda x_LD: x_LD.amax(0),
    "mean": lambda x_LD: x_LD.mean(0),
    "mean_sqrt_len": lambda x_LD: x_LD.sum(0) / len(x_LD) ** 0.5,
    "weightedmean": lambda x_LD: torch.linspace(1, len(x_LD), len(x_LD)) @ x_LD / sum(range(len(x_LD) + 1)),
    "lasttoken": lambda x_LD: x_LD[-1],
}
WITH_POOLER = ("bert", "mobilebert", "squeezebert")
LAYERS = {"distilbert": "transformer.layer", "squeezebert": "encoder.layers"}


def embed(folder: Path, **options: Any) -> Tensor:
    """The vectors, after checking that the checkpoint's record foretold their size and length."""
    asked = EmbeddingOptions(**options)
    vectors: Tensor = load_model(folder, "embedding", embedding=asked)(
        PackedTokens.from_sequences(SEQUENCES)
    ).embeddings
    foretold = read_checkpoint(folder, "embedding", embedding=asked)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (len(SEQUENCES), foretold.embedding_dimension)
    units = torch.allclose(vectors.norm(dim=-1), torch.ones(len(vectors)), atol=1e-5)
    assert units == foretold.embedding_normalized
    return vectors


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def unit(x_ND: Tensor) -> Tensor:
    return x_ND / x_ND.norm(dim=-1, keepdim=True)


@pytest.fixture
def projected(tmp_path: Path) -> Path:
    """Mean, 32 values to 12, unit length."""
    return write_checkpoint(tmp_path, "bert", "embedding", sentence_transformers=True, projection=12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pooling_takes_the_place_of_the_checkpoints(
    checkpoints: Checkpoints, reference: Any, architecture: str, pooling: str
) -> None:
    """Each by its definition over the tokens of a sequence alone."""
    folder = checkpoints(architecture, "base")
    alone = reference(read_checkpoint(folder))
    wanted = torch.stack([POOLINGS[pooling](alone(ids).last_hidden_state[0]) for ids in SEQUENCES])
    assert_close(embed(folder, pooling=pooling), wanted)


@pytest.mark.parametrize("architecture", WITH_POOLER)
@pytest.mark.parametrize("layer", [None, 1])
def test_the_checkpoints_own_pooler(
    checkpoints: Checkpoints, reference: Any, architecture: str, layer: int | None
) -> None:
    """transformers' pooler_output, or its pooler on the state of another layer."""
    folder = checkpoints(architecture, "base")
    alone = reference(read_checkpoint(folder))
    outputs = [alone(ids) for ids in SEQUENCES]
    wanted = torch.cat([output.pooler_output for output in outputs])
    if layer is not None:
        with torch.inference_mode():
            wanted = torch.cat([alone.model.pooler(output.hidden_states[layer]) for output in outputs])
    assert_close(embed(folder, pooling="pooler", layer=layer), wanted)


def test_a_pooler_without_a_map_is_the_first_token(tmp_path: Path) -> None:
    """As MobileBERT's config says."""
    write_checkpoint(tmp_path, "mobilebert", "base", classifier_activation=False)
    assert torch.equal(embed(tmp_path, pooling="pooler"), embed(tmp_path, pooling="cls"))


@pytest.mark.parametrize("architecture", ["distilbert", "convbert"])
def test_an_architecture_without_a_pooler_refuses_it(checkpoints: Checkpoints, architecture: str) -> None:
    """With the poolings that there are, before any weight is read."""
    message = "pooling: this architecture has no pooler; use one of cls, max, mean, .*lasttoken$"
    with pytest.raises(OptionError, match=message):
        read_checkpoint(
            checkpoints(architecture, "base"), "embedding", embedding=EmbeddingOptions(pooling="pooler")
        )


def test_a_checkpoint_stored_without_its_pooler_refuses_it(checkpoints: Checkpoints) -> None:
    """BertForMaskedLM has none; nothing is made up in its place."""
    with pytest.raises(OptionError, match="was stored without the pooler's weights; use one of cls"):
        embed(checkpoints("bert", "fill-mask"), pooling="pooler")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", [0, 1, 2, 3, -1, -2, -3, -4])
def test_a_layer_is_that_of_hidden_states(
    tmp_path: Path, reference: Any, architecture: str, layer: int
) -> None:
    """The same numbers, from either end; 0 is what the embeddings give."""
    write_checkpoint(tmp_path, architecture, "base", layers=3)
    alone = reference(read_checkpoint(tmp_path))
    wanted = torch.stack([alone(ids).hidden_states[layer][0].mean(0) for ids in SEQUENCES])
    assert_close(embed(tmp_path, layer=layer), wanted)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_above_the_one_asked_for_are_not_run(tmp_path: Path, architecture: str) -> None:
    """NaN in their weights shows nowhere, and the cost is that of the layers below."""
    write_checkpoint(tmp_path, architecture, "base", layers=3)
    before = embed(tmp_path, layer=1)
    tensors = load_file(tmp_path / "model.safetensors")
    above = [f"{LAYERS.get(architecture, 'encoder.layer')}.{number}." for number in (1, 2)]
    poisoned = [name for name in tensors if any(part in name for part in above)]
    assert poisoned
    for name in poisoned:
        tensors[name].fill_(float("nan"))
    save_file(tensors, tmp_path / "model.safetensors")
    assert torch.equal(embed(tmp_path, layer=1), before)
    assert embed(tmp_path, layer=2).isnan().any()
    costs = [
        read_checkpoint(tmp_path, "embedding", embedding=EmbeddingOptions(layer=layer)).flops_per_token(9)
        for layer in (0, 1, 2, 3)
    ]
    assert costs[3] == read_checkpoint(tmp_path).flops_per_token(9)
    assert costs[3] - costs[2] == costs[2] - costs[1] == costs[1] - costs[0] > 0


def test_hidden_states_are_of_the_layers_that_ran(checkpoints: Checkpoints) -> None:
    """Two for one layer: its input and its output."""
    model = load_model(checkpoints("bert", "base"), "embedding", embedding=EmbeddingOptions(layer=1))
    output = model(PackedTokens.from_sequences(SEQUENCES), output_hidden_states=True, output_attentions=True)
    assert (len(output.hidden_states), len(output.attentions)) == (2, 1)


def test_normalization_is_added_or_left_out(checkpoints: Checkpoints, projected: Path) -> None:
    """True ends at unit length once, False gives the values before it."""
    plain = embed(checkpoints("bert", "base"))
    assert torch.equal(embed(checkpoints("bert", "base"), normalize=False), plain)
    assert_close(embed(checkpoints("bert", "base"), normalize=True), unit(plain))
    own = embed(projected)
    assert torch.equal(embed(projected, normalize=True), own)
    assert_close(unit(embed(projected, normalize=False)), own)
    assert not read_checkpoint(
        projected, "embedding", embedding=EmbeddingOptions(normalize=False)
    ).embedding_normalized


def test_a_projection_after_the_normalization_ends_it(projected: Path) -> None:
    """Then `normalize` adds one at the end, and False leaves that of the middle out."""
    path = projected / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps([*modules[:2], modules[3], modules[2]]))
    own = embed(projected)
    assert not read_checkpoint(projected).embedding_normalized
    assert_close(embed(projected, normalize=True), unit(own))
    dense = load_file(projected / "2_Dense" / "model.safetensors")
    pooled = embed(checkpoint_without_modules(projected))
    wanted = torch.nn.functional.linear(pooled, dense["linear.weight"], dense["linear.bias"]).tanh()
    assert_close(embed(projected, normalize=False), wanted)


def checkpoint_without_modules(folder: Path) -> Path:
    bare = folder / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((folder / name).read_bytes())
    return bare


def test_dimensions_are_the_first_ones(checkpoints: Checkpoints, projected: Path) -> None:
    """At unit length again where the whole vector has it; all of them change nothing."""
    plain = embed(checkpoints("bert", "base"))
    assert torch.equal(embed(checkpoints("bert", "base"), dimensions=5), plain[:, :5])
    assert_close(embed(checkpoints("bert", "base"), dimensions=5, normalize=True), unit(plain[:, :5]))
    own = embed(projected)
    assert_close(embed(projected, dimensions=5), unit(own[:, :5]))
    assert_close(embed(projected, dimensions=5, normalize=False), embed(projected, normalize=False)[:, :5])
    assert torch.equal(embed(projected, dimensions=12), own)


def test_a_projection_stays_behind_another_pooling(projected: Path, reference: Any) -> None:
    """Where it reads as many values as the pooling gives."""
    alone = reference(read_checkpoint(projected))
    pooled = torch.stack([alone(ids).last_hidden_state[0].amax(0) for ids in SEQUENCES])
    dense = load_file(projected / "2_Dense" / "model.safetensors")
    wanted = torch.nn.functional.linear(pooled, dense["linear.weight"], dense["linear.bias"]).tanh()
    assert_close(embed(projected, pooling="max"), unit(wanted))


def test_one_pooling_takes_the_place_of_several(projected: Path) -> None:
    """Without a projection that needs them all; with one it is an error that names it."""
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    (projected / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    path = projected / "2_Dense" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_features": 64}))
    asked = EmbeddingOptions(pooling="mean")
    message = (
        "pooling: expected one that gives 64 values, which the checkpoint's projection 2_Dense reads; "
        r"mean gives 32\. Leave pooling out to keep the checkpoint's own \(cls and mean\)"
    )
    with pytest.raises(OptionError, match=message):
        read_checkpoint(projected, embedding=asked)
    modules = json.loads((projected / "modules.json").read_text())
    (projected / "modules.json").write_text(json.dumps(modules[:2]))
    assert embed(projected).shape == (len(SEQUENCES), 64)
    assert torch.equal(embed(projected, pooling="mean"), embed(projected)[:, 32:])


@pytest.mark.parametrize(
    "options", [{"pooling": "max"}, {"pooling": "pooler"}, {"layer": 1, "dimensions": 7}]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_equals_alone(checkpoints: Checkpoints, options: dict[str, Any], dtype: str) -> None:
    """Options change nothing about that; in bfloat16 vectors are near those of float32."""
    asked = EmbeddingOptions(normalize=True, **options)
    folder = checkpoints("squeezebert", "base")
    model = load_model(folder, "embedding", dtype, embedding=asked)
    together = model(PackedTokens.from_sequences(SEQUENCES)).embeddings
    exact = embed(folder, normalize=True, **options)
    tolerance = 1e-5 if dtype == "float32" else 0.05
    for index, ids in enumerate(SEQUENCES):
        alone = model(PackedTokens.from_sequences([ids])).embeddings[0]
        assert (together[index] - alone).abs().max() <= tolerance
        assert (exact[index] - alone).abs().max() <= tolerance


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "median"}, "pooling: expected one of cls, .*lasttoken, pooler; got 'median'"),
        ({"dimensions": 33}, "dimensions: expected 1 to 32, the checkpoint's own; got 33"),
        ({"dimensions": 0}, "dimensions: expected 1 to 32, .*got 0"),
        (
            {"layer": 3},
            r"layer: expected -3 to 2, from the embeddings' output \(0\) to the last of 2 .*got 3",
        ),
        ({"layer": -4}, "layer: expected -3 to 2, .*got -4"),
    ],
)
def test_values_without_a_meaning_are_refused(
    checkpoints: Checkpoints, options: dict[str, Any], message: str
) -> None:
    """With those that have one, from the files alone."""
    with pytest.raises(OptionError, match=message):
        read_checkpoint(checkpoints("bert", "base"), "embedding", embedding=EmbeddingOptions(**options))


def test_other_tasks_take_no_embedding_options(checkpoints: Checkpoints) -> None:
    """Named or by default; empty options are none."""
    message = "normalize: expected the task 'embedding' for this option, got 'base'"
    with pytest.raises(OptionError, match=message):
        load_model(checkpoints("bert", "base"), embedding=EmbeddingOptions(normalize=False))
    assert load_model(checkpoints("bert", "base"), embedding=EmbeddingOptions()).checkpoint.task == "base"
