"""sentence-transformers folders: pooling, projection and normalization as their files say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models import (
    CheckpointError,
    ConfigError,
    EmbeddingOutput,
    PackedTokens,
    load_model,
    read_checkpoint,
)

SEQUENCES = [[2, 90, 91, 3], [2, 300, 301, 302, 303, 3], [2, 3]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path, "bert", "embedding", sentence_transformers=True, projection=12)


def set_pooling(folder: Path, **values: Any) -> None:
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **values}))


def set_modules(folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    path = folder / "modules.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def embed(folder: Path) -> torch.Tensor:
    output = load_model(folder)(PackedTokens.from_sequences(SEQUENCES))
    assert isinstance(output, EmbeddingOutput)
    return output.embeddings


def states(folder: Path, reference: Any) -> list[torch.Tensor]:
    """transformers' last hidden states of each sequence."""
    alone = reference(read_checkpoint(folder))
    return [alone(ids).last_hidden_state[0] for ids in SEQUENCES]


def test_pooling_projection_and_normalization_are_applied_in_order(folder: Path, reference: Any) -> None:
    """Mean, then tanh of the linear map, then unit length."""
    dense = load_file(folder / "2_Dense" / "model.safetensors")
    pooled = torch.stack([x_LD.mean(0) for x_LD in states(folder, reference)])
    wanted = torch.nn.functional.linear(pooled, dense["linear.weight"], dense["linear.bias"]).tanh()
    wanted = wanted / wanted.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(embed(folder), wanted, rtol=0, atol=1e-5)


def test_embeddings_are_float32_whatever_the_dtype(folder: Path) -> None:
    """The pooling of 16-bit states is done in float32, the projection too."""
    rough = load_model(folder, dtype="bfloat16")(PackedTokens.from_sequences(SEQUENCES)).embeddings
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, embed(folder), rtol=0, atol=0.05)
    torch.testing.assert_close(rough.norm(dim=-1), torch.ones(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, ("cls", "mean")),
        ({"pooling_mode_lasttoken": True, "pooling_mode_max_tokens": True}, ("max", "mean", "lasttoken")),
        ({}, ("mean",)),
        ({"pooling_mode": "weightedmean"}, ("weightedmean",)),
        ({"pooling_mode": "mean_sqrt_len_tokens", "pooling_mode_cls_token": True}, ("mean_sqrt_len",)),
        ({"pooling_mode": ["max", "mean"]}, ("max", "mean")),
    ],
)
def test_old_flags_and_new_names_of_pooling(
    folder: Path, config: dict[str, Any], modes: tuple[str, ...]
) -> None:
    """Several flags mean concatenation, in sentence-transformers' order; a name overrides the flags."""
    set_pooling(folder, **config)
    set_modules(folder, lambda modules: modules[:2])
    checkpoint = read_checkpoint(folder)
    assert checkpoint.sentence_modules is not None
    assert checkpoint.sentence_modules.pooling == modes
    assert checkpoint.embedding_dimension == embed(folder).shape[1] == 32 * len(modes)


def test_concatenated_poolings_lie_side_by_side(folder: Path, reference: Any) -> None:
    """First token's features, then the mean's."""
    set_pooling(folder, pooling_mode_cls_token=True, pooling_mode_mean_tokens=True)
    set_modules(folder, lambda modules: modules[:2])
    wanted = torch.stack([torch.cat([x_LD[0], x_LD.mean(0)]) for x_LD in states(folder, reference)])
    torch.testing.assert_close(embed(folder), wanted, rtol=0, atol=2e-5)


def test_without_these_files_it_is_the_mean_not_normalized(folder: Path, reference: Any) -> None:
    """The default of a plain encoder."""
    (folder / "modules.json").unlink()
    ours = load_model(folder, "embedding")(PackedTokens.from_sequences(SEQUENCES)).embeddings
    wanted = torch.stack([x_LD.mean(0) for x_LD in states(folder, reference)])
    torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-5)


def test_the_transformer_may_have_a_folder_of_its_own(folder: Path) -> None:
    """Config, weights and length limit are read there."""
    wanted = embed(folder)
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "sentence_bert_config.json"):
        shutil.move(folder / name, inner / name)
    set_modules(folder, lambda modules: [modules[0] | {"path": "0_Transformer"}, *modules[1:]])
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.path, checkpoint.folder, checkpoint.max_seq_length) == (folder, inner, 64)
    assert torch.equal(embed(folder), wanted)


def test_legacy_length_files(folder: Path) -> None:
    """sentence_distilbert_config.json counts as well; null and no file mean no limit."""
    (folder / "sentence_bert_config.json").rename(folder / "sentence_distilbert_config.json")
    assert read_checkpoint(folder).max_seq_length == 64
    (folder / "sentence_distilbert_config.json").write_text('{"max_seq_length": null}')
    assert read_checkpoint(folder).max_seq_length is None
    (folder / "sentence_distilbert_config.json").unlink()
    assert read_checkpoint(folder).max_seq_length is None


def retyped(index: int, kind: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        set_modules(
            folder, lambda ms: [m | ({"type": kind} if place == index else {}) for place, m in enumerate(ms)]
        )

    return change


def dense(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "2_Dense" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (retyped(2, "sentence_transformers.models.LSTM"), r"modules\.json: expected .*Dense.*got '.*LSTM'"),
        (retyped(0, "custom_code.Transformer"), "got 'custom_code.Transformer'"),
        (retyped(1, "sentence_transformers.sparse_encoder.models.Pooling"), "got '.*sparse_encoder"),
        (
            lambda f: set_modules(f, lambda m: m[::-1]),
            "expected Transformer, Pooling, then .*got Normalize, Dense",
        ),
        (lambda f: (f / "modules.json").write_text("{}"), "expected a list with one object per module"),
        (lambda f: set_pooling(f, pooling_mode_mean_tokens=False), "expected at least one pooling mode"),
        (
            lambda f: set_pooling(f, pooling_mode="median"),
            "pooling_mode: expected one of cls, max, .*'median'",
        ),
        (
            dense(activation_function="os.system"),
            "activation_function: expected one of torch.nn.*got 'os.system'",
        ),
        (dense(activation_function="my.torch.nn.Tanh"), "got 'my.torch.nn.Tanh'"),
        (dense(in_features=33), "2_Dense/config.json: in_features: expected 32, got 33"),
        (dense(out_features=None), "out_features: expected an integer, but the key is missing"),
        (dense(module_input_name="token_embeddings"), "module_input_name: expected 'sentence_embedding'"),
        (
            lambda f: (f / "sentence_bert_config.json").write_text('{"max_seq_length": -1}'),
            "max_seq_length: expec",
        ),
    ],
)
def test_files_that_cannot_be_honoured_are_refused(
    folder: Path, change: Callable[[Path], object], message: str
) -> None:
    """Unknown modules, code of others, and sizes that do not fit."""
    change(folder)
    with pytest.raises(ConfigError, match=message):
        read_checkpoint(folder)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "a/../../b"])
def test_a_module_outside_the_folder_is_refused(folder: Path, index: int, path: str) -> None:
    """Before anything is read there."""

    def change(modules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        modules[index]["path"] = path
        return modules

    set_modules(folder, change)
    with pytest.raises(
        CheckpointError, match=r"modules\.json: expected a path inside the checkpoint's folder"
    ):
        read_checkpoint(folder)
