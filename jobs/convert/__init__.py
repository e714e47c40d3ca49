"""PyTorch pickles, TensorFlow and Flax checkpoints turned into safetensors in transformers' PyTorch names.

    from corpusmill.jobs.convert import convert
    convert("bert-with-tf-weights", "bert")

Nothing of a source is ever executed: pickles are read for tensors only, HDF5 and msgpack as plain data.
A framework is one file and one line in `frameworks.py`; a family's tensors are one entry in `names.py`.
"""

from corpusmill.jobs.convert.conversion import Converted, convert
from corpusmill.jobs.errors import ConvertError

__all__ = ["ConvertError", "Converted", "convert"]
