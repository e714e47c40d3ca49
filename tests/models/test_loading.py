"""A loaded model: its options, its state, and the tokens it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from corpusmill.models import InputError, OptionError, PackedTokens, load_model, read_checkpoint

Checkpoints = Callable[[str, str], Path]


def test_a_model_knows_what_it_is(checkpoints: Checkpoints) -> None:
    """Checkpoint, dtype, device, and why these kernels."""
    model = load_model(checkpoints("bert", "base"), dtype="bfloat16")
    assert model.checkpoint.model_type == "bert"
    assert (model.dtype, model.device) == (torch.bfloat16, torch.device("cpu"))
    assert "linear: " in model.kernel_reason
    assert "attention: " in model.kernel_reason


def test_a_model_is_for_inference_only(checkpoints: Checkpoints) -> None:
    """Evaluation mode, no gradients, and no graph behind its results."""
    model = load_model(checkpoints("bert", "text-classification"))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model(PackedTokens.from_sequences([[2, 3]])).logits.is_inference()


def test_half_precision_weights_are_widened(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """A float16 checkpoint runs in float32 on the CPU."""
    source = checkpoints("bert", "base")
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    tensors = load_file(source / "model.safetensors")
    save_file({name: value.half() for name, value in tensors.items()}, tmp_path / "model.safetensors")
    packed = PackedTokens.from_sequences([[2, 90, 91, 3]])
    narrow, wide = load_model(tmp_path)(packed), load_model(source)(packed)
    assert narrow.last_hidden_state.dtype == torch.float32
    torch.testing.assert_close(narrow.last_hidden_state, wide.last_hidden_state, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype: expected one of float32, bfloat16, int8 on cpu, got 'float16'"),
        ({"dtype": "double"}, "got 'double'"),
        ({"device": "tpu"}, "device: expected cpu or cuda, got 'tpu'"),
        ({"device": "mps"}, "device: expected cpu or cuda, got 'mps'"),
    ],
)
def test_unknown_options_are_refused(checkpoints: Checkpoints, options: dict[str, Any], message: str) -> None:
    """With the ones that are known."""
    with pytest.raises(OptionError, match=message):
        load_model(checkpoints("bert", "base"), **options)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_numbers_are_refused_where_they_would_ruin_results(
    checkpoints: Checkpoints, dtype: str
) -> None:
    """With the reason and what to use instead, whatever the device."""
    message = (
        f"dtype: {dtype} is refused for mobilebert: its activations reach 1e7.*use one of float32, bfloat16$"
    )
    with pytest.raises(OptionError, match=message):
        load_model(checkpoints("mobilebert", "base"), dtype=dtype)
    assert set(read_checkpoint(checkpoints("mobilebert", "base")).refused_dtypes) == {"float16", "int8"}
    assert not read_checkpoint(checkpoints("squeezebert", "base")).refused_dtypes


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_told(checkpoints: Checkpoints) -> None:
    """Not a fallback to the CPU."""
    with pytest.raises(OptionError, match="expected a CUDA device for 'cuda', but torch finds none"):
        load_model(checkpoints("bert", "base"), device="cuda")


@pytest.mark.parametrize(
    ("sequences", "types", "message"),
    [
        ([[2] * 129], None, "expected at most 128 tokens, the positions of .*, got 129; truncate"),
        ([[2, 480]], None, "input_ids: expected 0 to 479, got 480; was the text tokenized with this"),
        ([[2, -1]], None, "input_ids: expected 0 to 479, got -1"),
        ([[2, 3]], [[0, 2]], "token_types: expected 0 to 1, got 2"),
    ],
)
def test_tokens_outside_the_tables_are_refused(
    checkpoints: Checkpoints, sequences: list[list[int]], types: list[list[int]] | None, message: str
) -> None:
    """Before they read past a table."""
    model = load_model(checkpoints("bert", "base"))
    with pytest.raises(InputError, match=message):
        model(PackedTokens.from_sequences(sequences, types))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0, 128], "position_ids: expected 0 to 127, got 128"),
        ([0], r"position_ids: expected shape \(2,\), got \(1,\)"),
    ],
)
def test_position_ids_outside_the_table_are_refused(
    checkpoints: Checkpoints, positions: list[int], message: str
) -> None:
    """One position a token, each with a vector."""
    model = load_model(checkpoints("bert", "base"))
    with pytest.raises(InputError, match=message):
        model(PackedTokens.from_sequences([[2, 3]]), position_ids=torch.tensor(positions))


def test_token_types_are_ignored_by_models_without_them(checkpoints: Checkpoints) -> None:
    """As DistilBERT's own tokenizer would not have made them."""
    model = load_model(checkpoints("distilbert", "base"))
    typed = model(PackedTokens.from_sequences([[2, 3]], [[1, 1]])).last_hidden_state
    assert torch.equal(typed, model(PackedTokens.from_sequences([[2, 3]])).last_hidden_state)
