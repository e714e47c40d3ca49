"""HDF5 and msgpack files: what is read, and what is refused."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
import torch
from convert_fixtures import unpack
from safetensors.torch import load_file

from corpusmill.jobs.convert import ConvertError, convert

POOLER = "bert/tf_bert_model/bert/pooler/dense/bias:0"


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    """A TensorFlow checkpoint of BERT."""
    return unpack("tensorflow-bert-base", tmp_path / "old")


@pytest.fixture
def flax(tmp_path: Path) -> Path:
    """A Flax checkpoint of BERT."""
    return unpack("flax-bert-base", tmp_path / "old")


def _external_link(file: h5py.File, outside: Path) -> None:
    file[POOLER] = h5py.ExternalLink(str(outside), "/secret")


def _soft_link(file: h5py.File, outside: Path) -> None:
    file[POOLER] = h5py.SoftLink("/bert")


def _external_storage(file: h5py.File, outside: Path) -> None:
    file.create_dataset(POOLER, (16,), "f4", external=[(str(outside), 0, 64)])


def _virtual(file: h5py.File, outside: Path) -> None:
    layout = h5py.VirtualLayout((16,), "f4")
    layout[:] = h5py.VirtualSource(str(outside), "secret", (16,))
    file.create_virtual_dataset(POOLER, layout)


def _integers(file: h5py.File, outside: Path) -> None:
    file[POOLER] = np.arange(16)


def _bomb(file: h5py.File, outside: Path) -> None:
    file.create_dataset(POOLER, (10**9,), "f4", chunks=(1024,))


def _surplus(file: h5py.File, outside: Path) -> None:
    file[POOLER] = np.ones(16, "f4")
    for number in range(25):
        file[f"crf/tf_bert_model/crf/transitions_{number:02}:0"] = np.ones(2, "f4")


def _different_copies(file: h5py.File, outside: Path) -> None:
    file[POOLER] = np.ones(16, "f4")
    file[f"other/{POOLER}"] = np.zeros(16, "f4")
    file.move(f"other/{POOLER}", "mlm___cls/tf_bert_model/bert/pooler/dense/bias:0")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_external_link, "expected an array or a group at .*pooler/dense/bias:0, got a link"),
        (_soft_link, "expected an array or a group at .*pooler/dense/bias:0, got a link"),
        (_external_storage, "pooler/dense/bias:0 in this file, got a reference"),
        (_virtual, "pooler/dense/bias:0 in this file, got a reference"),
        (_integers, "pooler/dense/bias:0: expected floating-point numbers, got int64"),
        (_bomb, "pooler/dense/bias:0 has 4,000,000,000 bytes by its header, more than the file"),
        (
            _surplus,
            r"no rule covers 25 tensor(?s:.*)transitions_19:0 \(a CRF .*\n  \.\.\. and 5 more\nIf",
        ),
        (_different_copies, "bert.pooler.dense.bias occurs twice, with different values"),
    ],
)
def test_hdf5_that_is_no_checkpoint(
    damage: Callable[[h5py.File, Path], None], message: str, keras: Path, tmp_path: Path
) -> None:
    """Links and outside storage would read other files of the machine into the result."""
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as other:
        other["secret"] = np.ones(16, "f4")
    with h5py.File(keras / "tf_model.h5", "r+") as file:
        del file[POOLER]
        damage(file, outside)
    with pytest.raises(ConvertError, match=message):
        convert(keras, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_big_endian_half_precision(keras: Path, tmp_path: Path) -> None:
    """Stored numbers in another byte order are the same numbers."""
    with h5py.File(keras / "tf_model.h5", "r+") as file:
        stored = file[POOLER][()]
        del file[POOLER]
        file[POOLER] = stored.astype(">f2")
    convert(keras, tmp_path / "new")
    got = load_file(tmp_path / "new" / "model.safetensors")["pooler.dense.bias"]
    assert got.dtype == torch.float16
    assert torch.equal(got, torch.from_numpy(stored).half())


def _extension(shape: list[int], dtype: str, data: bytes, code: int = 1) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb([shape, dtype, data]))


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (_extension([16], "float32", bytes(63)), r"an array of shape \[16\] and float32, got 63 bytes"),
        (_extension([16], "float32", bytes(68)), r"an array of shape \[16\] and float32, got 68 bytes"),
        (_extension([-4, -4], "float32", bytes(64)), "an array of shape"),
        (
            _extension([16], "object", bytes(64)),
            "expected arrays of float16, bfloat16, float32, float64, got object",
        ),
        (
            _extension([16], "complex64", bytes(128), code=2),
            r"expected arrays \(extension type 1\), got type 2",
        ),
        (msgpack.ExtType(1, b"\x01"), "expected a Flax checkpoint, got"),
        (3.5, "pooler/dense/bias: expected a map or an array, got float"),
    ],
)
def test_msgpack_that_is_no_checkpoint(bias: Any, message: str, flax: Path, tmp_path: Path) -> None:
    """Only arrays of numbers, of their stated size."""
    _set_bias(flax, bias)
    with pytest.raises(ConvertError, match=message):
        convert(flax, tmp_path / "new")


def test_bfloat16_of_flax(flax: Path, tmp_path: Path) -> None:
    """numpy has no bfloat16."""
    values = torch.randn(16).bfloat16()
    _set_bias(flax, _extension([16], "bfloat16", values.view(torch.int16).numpy().tobytes()))
    convert(flax, tmp_path / "new")
    assert torch.equal(load_file(tmp_path / "new" / "model.safetensors")["pooler.dense.bias"], values)


def test_arrays_in_pieces(flax: Path, tmp_path: Path) -> None:
    """As Flax stores what is above 1 GiB."""
    whole = np.arange(16, dtype="f4")
    pieces = [_extension([len(part)], "float32", part.tobytes()) for part in (whole[:10], whole[10:])]
    named = {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 16},
        "chunks": {"0": pieces[0], "1": pieces[1]},
    }
    _set_bias(flax, named)
    convert(flax, tmp_path / "new")
    got = load_file(tmp_path / "new" / "model.safetensors")["pooler.dense.bias"]
    assert torch.equal(got, torch.from_numpy(whole))


@pytest.mark.parametrize("name", ["tensorflow-bert-base", "flax-bert-base"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", struct.pack(">Q", 0x89_48_44_46_0D_0A_1A_0A)])
def test_damaged_files(name: str, content: bytes, tmp_path: Path) -> None:
    """One line that names the file."""
    old = unpack(name, tmp_path / "old")
    file = next(path for path in old.iterdir() if path.suffix != ".json")
    file.write_bytes(content)
    with pytest.raises(ConvertError, match=f"{file.name}: expected .*, got a file that cannot be read"):
        convert(old, tmp_path / "new")


def test_nesting_without_end(flax: Path, tmp_path: Path) -> None:
    """A map in a map in a map, 100,000 times."""
    (flax / "flax_model.msgpack").write_bytes(b"\x81\xa1a" * 100_000 + b"\x01")
    with pytest.raises(ConvertError, match="expected a Flax checkpoint, got"):
        convert(flax, tmp_path / "new")


@pytest.mark.parametrize(
    ("name", "library"), [("tensorflow-bert-base", "h5py"), ("flax-bert-base", "msgpack")]
)
def test_a_missing_library_is_named(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the command that installs it."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConvertError, match=rf"needs {library}: pip install 'corpusmill\[convert\]'"):
        convert(unpack(name, tmp_path / "old"), tmp_path / "new")


def _set_bias(folder: Path, value: Any) -> None:
    """Replace the pooler's bias and keep every other extension."""
    file = folder / "flax_model.msgpack"
    tree = msgpack.unpackb(file.read_bytes(), ext_hook=msgpack.ExtType)
    tree["pooler"]["dense"]["bias"] = value
    file.write_bytes(msgpack.packb(tree))
