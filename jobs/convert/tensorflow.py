"""TensorFlow checkpoints: `tf_model.h5`, HDF5 as Keras writes it, read as plain data."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corpusmill.jobs.convert.spec import Framework, SourceLayout, check_size
from corpusmill.jobs.errors import ConvertError
from corpusmill.jobs.extras import extra

if TYPE_CHECKING:
    import h5py

# The layers of a model; mlm___cls is the layer of the masked language model in `cls`.
LAYERS = (
    "(?:bert|distilbert|mobilebert|convbert|[a-z_]+___cls|classifier|pre_classifier|qa_outputs"
    "|vocab_transform|vocab_layer_norm|vocab_projector|generator_predictions|generator_lm_head|sequence_summary)"
)
RENAMES = (
    # Keras' group for the layer and, mostly, a scope for the model: bert/tf_bert_model/bert/embeddings/...
    (rf"^[^/]+/(?:[^/]+/)??(?={LAYERS}/)", ""),
    (r":\d+$", ""),
    (r"^[a-z_]+___", ""),
    (r"/layer_\._(\d+)/", r"/layer/\1/"),
    (r"/(depthwise|pointwise)_kernel$", r"/\1/weight"),
    (r"/(?:kernel|gamma|embeddings)$", "/weight"),
    (r"/beta$", "/bias"),
    (r"/", "."),
)
LAYOUTS = (
    SourceLayout("/kernel:0", 2, (1, 0)),
    # ConvBERT's grouped linear layers: (out, in, groups) here, (groups, in, out) in PyTorch.
    SourceLayout("/kernel:0", 3, (2, 1, 0)),
    # Its separable convolution: (width, channels, 1) and (1, in, out) here, (out, in, width) in PyTorch.
    SourceLayout("/depthwise_kernel:0", 3, (1, 2, 0)),
    SourceLayout("/pointwise_kernel:0", 3, (2, 1, 0)),
    SourceLayout("/key_conv_attn_layer/bias:0", 1, (0, None)),
)


def _read(file: Path) -> Iterator[tuple[str, Tensor]]:
    h5py = extra("h5py", "convert", file=file)
    try:
        opened = h5py.File(file, "r")
    except OSError as error:
        raise ConvertError(f"{file}: expected HDF5, got a file that cannot be read: {error}") from None
    with opened:
        yield from _datasets(opened, "", file)


def _datasets(group: "h5py.Group", path: str, file: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield all arrays under a group; refuse links, and arrays in other files."""
    h5py = extra("h5py", "convert", file=file)
    for key in group:
        name = f"{path}{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ConvertError(f"{file}: expected an array or a group at {name}, got a link")
        item = group[key]
        if isinstance(item, h5py.Group):
            yield from _datasets(item, f"{name}/", file)
        elif isinstance(item, h5py.Dataset):
            yield name, _tensor(item, name, file)


def _tensor(dataset: "h5py.Dataset", name: str, file: Path) -> Tensor:
    if dataset.external or dataset.is_virtual:
        raise ConvertError(
            f"{file}: expected the values of {name} in this file, got a reference to another one"
        )
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8:
        raise ConvertError(f"{file}: {name}: expected floating-point numbers, got {dataset.dtype}")
    check_size(name, dataset.nbytes, file)
    array: Any = dataset[()]
    return torch.from_numpy(array.astype(dataset.dtype.newbyteorder("="), copy=False))


SPEC = Framework(
    name="TensorFlow",
    file="tf_model.h5",
    index=None,
    families=("bert", "distilbert", "mobilebert", "convbert"),
    read=_read,
    renames=RENAMES,
    layouts=LAYOUTS,
)
