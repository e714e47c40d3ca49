"""`pytorch_model.bin`: the result is what transformers saves; pickles of more than tensors run nothing."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.tiny_checkpoints import write_checkpoint

from corpusmill.jobs.convert import ConvertError, convert
from corpusmill.models import PackedTokens, load_model

HEADS = (
    "Model",
    "ForPreTraining",
    "ForMaskedLM",
    "ForNextSentencePrediction",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "vocab_size": 20,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": {},
    "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "MobileBert": {"embedding_size": 8, "intra_bottleneck_size": 8},
    "SqueezeBert": {"embedding_size": 16},
    "ConvBert": {"embedding_size": 12, "num_groups": 2},
}
CLASSES = [family + head for family in FAMILIES for head in HEADS if hasattr(transformers, family + head)]
MASKED = [family + "ForMaskedLM" for family in FAMILIES]


@pytest.mark.parametrize("name", CLASSES)
def test_the_result_is_what_transformers_saves(name: str, tmp_path: Path) -> None:
    """The same names, dtypes and bytes, each shared tensor once."""
    model = _write_bin(name, tmp_path / "old")
    converted = convert(tmp_path / "old", tmp_path / "new")
    _assert_same(model, tmp_path)
    assert converted.framework == "PyTorch"


@pytest.mark.parametrize("name", MASKED)
def test_untied_output_matrices_stay(name: str, tmp_path: Path) -> None:
    """Under a config that does not tie, nothing is shared."""
    _assert_same(_write_bin(name, tmp_path / "old", tie_word_embeddings=False), tmp_path, convert_now=True)


@pytest.mark.parametrize("name", MASKED)
def test_copies_of_a_shared_matrix_are_written_once(name: str, tmp_path: Path) -> None:
    """Also where the pickle holds them as two tensors of equal values."""
    model = _write_bin(name, tmp_path / "old")
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torch.save(state, tmp_path / "old" / "pytorch_model.bin")
    _assert_same(model, tmp_path, convert_now=True)


def test_an_output_matrix_of_its_own_is_kept(tmp_path: Path) -> None:
    """The config has tied matrices; transformers keeps the two matrices too."""
    model = _write_bin("BertForMaskedLM", tmp_path / "old")
    decoder = torch.randn(20, 16)
    state = model.state_dict() | {"cls.predictions.decoder.weight": decoder}
    torch.save(state, tmp_path / "old" / "pytorch_model.bin")
    convert(tmp_path / "old", tmp_path / "new")
    written = load_file(tmp_path / "new" / "model.safetensors")
    assert torch.equal(written["cls.predictions.decoder.weight"], decoder)


def test_legacy_names_and_saved_numbers(tmp_path: Path) -> None:
    """gamma and beta become weight and bias; position_ids and the prefix of a base model are removed."""
    model = _write_bin("BertModel", tmp_path / "old")
    state = {f"bert.{_legacy(key)}": tensor for key, tensor in model.state_dict().items()}
    state["bert.embeddings.position_ids"] = torch.arange(12)[None]
    torch.save(state, tmp_path / "old" / "pytorch_model.bin")
    converted = convert(tmp_path / "old", tmp_path / "new")
    assert converted.left_out == ("bert.embeddings.position_ids",)
    _assert_same(model, tmp_path)


def test_shards_of_an_index(tmp_path: Path) -> None:
    """All files that the index names, and the index itself is not copied."""
    model = _write_bin("BertForMaskedLM", tmp_path / "old")
    _write_shards(model, tmp_path / "old")
    _assert_same(model, tmp_path, convert_now=True)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays(dtype: torch.dtype, tmp_path: Path) -> None:
    """No number is widened or rounded."""
    model = _write_bin("DistilBertModel", tmp_path / "old", dtype=dtype)
    _assert_same(model, tmp_path, convert_now=True)


def test_pickles_of_old_torch(tmp_path: Path) -> None:
    """Before torch 1.6 a checkpoint was a bare pickle, which cannot be memory-mapped."""
    model = _write_bin("BertModel", tmp_path / "old")
    file = tmp_path / "old" / "pytorch_model.bin"
    torch.save(model.state_dict(), file, _use_new_zipfile_serialization=False)
    _assert_same(model, tmp_path, convert_now=True)


def test_sentence_transformers_folders(tmp_path: Path) -> None:
    """Encoder and projection are converted, module files and tokenizer copied: the vectors stay the same."""
    old = write_checkpoint(
        tmp_path / "old", "bert", "embedding", sentence_transformers=True, projection=8, width=16
    )
    packed = PackedTokens.from_sequences([[2, 90, 91, 3]])
    before = load_model(old)(packed).embeddings
    for folder in (old, old / "2_Dense"):
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    converted = convert(old, tmp_path / "new")
    assert converted.tensors == len(load_file(tmp_path / "new" / "model.safetensors")) + 2
    assert torch.equal(load_model(tmp_path / "new")(packed).embeddings, before)
    assert _files(tmp_path / "new") == {
        name.replace("pytorch_model.bin", "model.safetensors") for name in _files(old)
    }


def test_a_projection_beside_safetensors(tmp_path: Path) -> None:
    """Only the projection is converted; the encoder's safetensors are copied."""
    old = write_checkpoint(tmp_path / "old", "bert", "embedding", sentence_transformers=True, projection=8)
    dense = old / "2_Dense"
    torch.save(load_file(dense / "model.safetensors"), dense / "pytorch_model.bin")
    (dense / "model.safetensors").unlink()
    converted = convert(old, tmp_path / "new")
    assert (converted.framework, converted.tensors) == ("PyTorch", 2)
    copied = (tmp_path / "new" / "model.safetensors").read_bytes()
    assert copied == (old / "model.safetensors").read_bytes()


def test_a_projection_beside_sharded_safetensors(tmp_path: Path) -> None:
    """The index is copied with its shards, and the model loads as before."""
    old = write_checkpoint(tmp_path / "old", "bert", "embedding", sentence_transformers=True, projection=8)
    packed = PackedTokens.from_sequences([[2, 90, 91, 3]])
    before = load_model(old)(packed).embeddings
    (old / "model.safetensors").rename(old / "model-00001-of-00001.safetensors")
    names = load_file(old / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (old / "model.safetensors.index.json").write_text(json.dumps(index))
    torch.save(load_file(old / "2_Dense" / "model.safetensors"), old / "2_Dense" / "pytorch_model.bin")
    (old / "2_Dense" / "model.safetensors").unlink()
    convert(old, tmp_path / "new")
    assert torch.equal(load_model(tmp_path / "new")(packed).embeddings, before)


def test_code_and_other_weights_are_not_copied(tmp_path: Path) -> None:
    """Data only: config, tokenizer and text files."""
    _write_bin("BertModel", tmp_path / "old")
    for name in (
        "modeling_custom.py",
        "training_args.bin",
        "rust_model.ot",
        "vocab.txt",
        "LICENSE",
        "README.md",
    ):
        (tmp_path / "old" / name).write_text("x")
    convert(tmp_path / "old", tmp_path / "new")
    assert _files(tmp_path / "new") == {
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "LICENSE",
        "README.md",
    }


class Trap:
    """Unpickled by plain `pickle`, this writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (_spring, (str(self.mark),))


def _spring(mark: str) -> dict[str, Any]:
    Path(mark).write_text("run")
    return {}


def _zipped(value: object, file: Path) -> None:
    torch.save(value, file)


def _bare(value: object, file: Path) -> None:
    torch.save(value, file, _use_new_zipfile_serialization=False)


def _plain(value: object, file: Path) -> None:
    file.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize("save", [_zipped, _bare, _plain])
@pytest.mark.parametrize("among_tensors", [False, True])
def test_a_malicious_pickle_runs_nothing(
    save: Callable[[object, Path], None], among_tensors: bool, tmp_path: Path
) -> None:
    """The error names it, its code does not run, and no target is left behind."""
    model = _write_bin("BertModel", tmp_path / "old")
    mark = tmp_path / "mark"
    state = model.state_dict() | {"embeddings.extra": Trap(mark)} if among_tensors else Trap(mark)
    save(state, tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(ConvertError, match=r"tensors only, but .*; no code of it was run") as caught:
        convert(tmp_path / "old", tmp_path / "new")
    assert "_spring" in str(caught.value) or save is _plain
    assert not mark.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


def test_a_malicious_shard_runs_nothing(tmp_path: Path) -> None:
    """The last file of an index as the first."""
    model = _write_bin("BertModel", tmp_path / "old")
    last = _write_shards(model, tmp_path / "old")[-1]
    torch.save(Trap(tmp_path / "mark"), last)
    with pytest.raises(ConvertError, match=f"{last.name}.*no code of it was run"):
        convert(tmp_path / "old", tmp_path / "new")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "expected an object from name to tensor, got list"),
        ({"epoch": 3}, "epoch: expected a plain tensor, got int"),
        ({1: torch.ones(1)}, "1: expected a plain tensor"),
        ({"pooler.dense.bias": torch.eye(3).to_sparse()}, "pooler.dense.bias: expected a plain tensor"),
        (
            {"pooler.dense.bias": torch.ones(1).expand(10**9)},
            "has 4,000,000,000 bytes by its header, more than the file",
        ),
        ({"pooler.dense.bias": torch.arange(3)}, "expected floating-point numbers, got torch.int64"),
        ({}, "expected weights, got a file without tensors"),
        ({"crf.transitions": torch.ones(2), "bert.head.x": torch.ones(2)}, "no rule covers 2 tensor"),
        ({"pooler.dense.bias": torch.ones(2), "bert.pooler.dense.bias": torch.ones(2)}, "occurs twice"),
        (
            {"embeddings.LayerNorm.gamma": torch.ones(2), "embeddings.LayerNorm.weight": torch.zeros(2)},
            "LayerNorm.weight occurs twice, with different values",
        ),
    ],
)
def test_states_that_are_no_checkpoint(state: Any, message: str, tmp_path: Path) -> None:
    """The error names the fault."""
    _write_bin("BertModel", tmp_path / "old")
    torch.save(state, tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(ConvertError, match=message):
        convert(tmp_path / "old", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no pickle at all"])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    """The error is one line."""
    _write_bin("BertModel", tmp_path / "old")
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(
        ConvertError, match=r"pytorch_model\.bin: expected a (PyTorch checkpoint, got|pickle)"
    ):
        convert(tmp_path / "old", tmp_path / "new")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "expected weight_map"),
        (
            {"weight_map": {"a": "../outside.bin"}},
            r"expected paths inside the checkpoint, got '\.\./outside\.bin'",
        ),
        ({"weight_map": {"a": "/outside.bin"}}, "expected paths inside the checkpoint"),
        (
            {"weight_map": {"a": "gone.bin"}},
            "gone.bin: .* names this file, but it is missing; download it again",
        ),
    ],
)
def test_unusable_indexes(index: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Missing, empty, or leading out of the folder."""
    _write_bin("BertModel", tmp_path / "old")
    (tmp_path / "old" / "pytorch_model.bin").unlink()
    (tmp_path / "old" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(ConvertError, match=message):
        convert(tmp_path / "old", tmp_path / "new")


def _write_bin(name: str, folder: Path, *, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """Write config and pickle of a random model of transformers, and return the model."""
    family = next(family for family in FAMILIES if name.startswith(family))
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**(SIZES | FAMILIES[family] | options))
    model = getattr(transformers, name)(config).to(dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    config.architectures = [name]
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


def _write_shards(model: Any, folder: Path) -> list[Path]:
    state = model.state_dict()
    names = sorted(state)
    files = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = folder / f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: state[name] for name in part}, file)
        files |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin").unlink()
    index = {"weight_map": {name: file.name for name, file in files.items()}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return sorted(set(files.values()))


def _assert_same(model: Any, folder: Path, *, convert_now: bool = False) -> None:
    """Compare with the file that transformers writes for the model."""
    if convert_now:
        convert(folder / "old", folder / "new")
    model.save_pretrained(folder / "saved")
    expected, got = (load_file(folder / place / "model.safetensors") for place in ("saved", "new"))
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor), name
    assert (folder / "new" / "config.json").read_bytes() == (folder / "old" / "config.json").read_bytes()


def _legacy(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_surplus_tensors_are_left_out(tmp_path: Path) -> None:
    """Those of training with a note; others only by name, and no part of the model."""
    _write_bin("BertForSequenceClassification", tmp_path / "old")
    path = tmp_path / "old" / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    training = {"fit_dense.weight": torch.ones(2), "loss_fct.weight": torch.ones(2)}
    torch.save(state | training | {"linear.weight": torch.ones(2)}, path)
    with pytest.raises(ConvertError, match=r"(?s)linear.weight \(ColBERT's .*--ignore-tensors PATTERN"):
        convert(tmp_path / "old", tmp_path / "new")
    result = convert(tmp_path / "old", tmp_path / "new", ["linear.*", "classifier.*"])
    assert set(result.left_out) >= {"fit_dense.weight", "loss_fct.weight", "linear.weight"}
    assert "left out linear.weight: --ignore-tensors linear.*" in result.notes
    written = load_file(tmp_path / "new" / "model.safetensors")
    assert "classifier.weight" in written
    assert not {"fit_dense.weight", "linear.weight"} & written.keys()
