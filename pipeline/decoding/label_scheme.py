"""Which labels of a model begin, continue and end a span, from their names.

L labels.

A label is a prefix and a type. `B-` and `I-` are prefixes; so are `E-`, `S-` and `M-` (BIOES, BMES), and
`L-` and `U-` (BILOU), in a label set that has one of them before a type that `B-` or `I-` precedes too.
Any other label is a type without prefix and counts as `I-`: a set may have no prefixes at all.

Unlike the reference, which knows B- and I- alone and cuts any other label at its first dash, a type
without prefix keeps its whole name: `-`, a label of punctuation models, would be lost.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]

PREFIX_FAMILIES = ("ESM", "LU")
"""Prefixes beside B and I that count only where the label set proves that they are meant as such."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelScheme:
    """What a model's labels mean: the type of each, and whether it begins or ends a span.

    `type_of` (L,) indexes `types`. `ignore` names what is not reported: types, or for "none" labels.
    """

    labels: tuple[str, ...]
    types: tuple[str, ...]
    type_of: Ints
    begins: Bools
    ends: Bools
    ignore: tuple[str, ...]

    @classmethod
    def of(cls, labels: tuple[str, ...], ignore: tuple[str, ...] = ("O",)) -> Self:
        """Work out the scheme from the names alone, given in the model's order."""
        prefixes = _prefixes(labels)
        parts = [_split(label, prefixes) for label in labels]
        types = tuple(dict.fromkeys(kind for _, kind in parts))
        return cls(
            labels=labels,
            types=types,
            type_of=np.array([types.index(kind) for _, kind in parts]),
            begins=np.array([prefix in "BSU" for prefix, _ in parts]),
            ends=np.array([prefix in "ELSU" for prefix, _ in parts]),
            ignore=ignore,
        )


def _prefixes(labels: tuple[str, ...]) -> str:
    known = {label[2:] for label in labels if label.startswith(("B-", "I-"))}
    proven = {label[0] for label in labels if label[1:2] == "-" and label[2:] in known}
    return "BI" + "".join(family for family in PREFIX_FAMILIES if proven & set(family))


def _split(label: str, prefixes: str) -> tuple[str, str]:
    """Return prefix and type; without a prefix, I and the whole label."""
    if label[1:2] == "-" and label[0] in prefixes:
        return label[0], label[2:]
    return "I", label
