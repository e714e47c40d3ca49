"""Conversion of PyTorch, TensorFlow and Flax checkpoints to safetensors, in transformers' PyTorch names.

    from corpusmill.jobs.convert import convert
    convert("bert-with-tf-weights", "bert")

No code of a source is executed: only tensors are read from pickles, and HDF5 and msgpack are plain data.
A framework is one file and one line in `frameworks.py`; the names of a family's tensors are one entry in
`names.py`.
"""

from corpusmill.jobs.convert.conversion import Converted, convert
from corpusmill.jobs.errors import ConvertError

__all__ = ["ConvertError", "Converted", "convert"]
