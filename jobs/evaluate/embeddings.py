"""Vectors: how well they find a row's group, or agree with a similarity that people gave to pairs."""

import pyarrow as pa

from corpusmill.jobs.evaluate.label_types import as_numbers, as_text, is_number, is_text
from corpusmill.jobs.evaluate.request import Kind, Request
from corpusmill.jobs.evaluate.retrieval import Retrieval
from corpusmill.jobs.evaluate.similarity import Similarity, check_pairs

BITS = ("binary", "ubinary")
"""Values of `output_dtype` that pack eight signs into a byte."""


def embedding(request: Request) -> Kind:
    """Score `embedding` against groups, or with `--pairs` against numbers."""
    column = request.column("embedding")
    bits = request.model.options.get("output_dtype") in BITS
    if request.pairs is not None:
        if not is_number(request.label_type):
            raise request.refuse_labels("numbers")
        check_pairs(request.output, request.pairs)
        return Kind(column, Similarity(bits=bits), labels=as_numbers, uses=("pairs",))
    if is_text(request.label_type):
        return Kind(column, Retrieval(bits=bits), labels=as_text, uses=("pairs",))
    if not pa.types.is_integer(request.label_type):
        raise request.refuse_labels("strings or integers that name a row's group, or --pairs and numbers,")
    return Kind(column, Retrieval(bits=bits), uses=("pairs",))
