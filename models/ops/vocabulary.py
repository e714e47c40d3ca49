"""One score per word and sequence from the word scores of its tokens, one slice of tokens at a time.

The scores of a whole batch would fill gigabytes; those of a slice fit in a few tens of megabytes. All slices
but the last have the same size, whatever the sequences, so that one layout of a matrix product serves all.
Shape suffixes: T tokens of all sequences, S of a slice, N sequences, C sequences of one length, L their
tokens, P all of these, D width, V vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from corpusmill.models.packed import PackedTokens

Scorer = Callable[[Tensor], Tensor]
# 16 MiB in float32. Two or three such tensors can exist at once.
SCORES_AT_ONCE = 2**22


def largest(
    states_TD: Tensor, packed: PackedTokens, score: Scorer, *, vocabulary: int, at_once: int = SCORES_AT_ONCE
) -> Tensor:
    """Return each word's largest score in a sequence, (N, V), float32; `at_once` bounds a slice's scores."""
    y_NV = states_TD.new_full((len(packed), vocabulary), float("-inf"), dtype=torch.float32)
    for rows, scores_CLV in _scored(states_TD, packed, score, limit=max(1, at_once // vocabulary)):
        y_NV[rows] = torch.maximum(y_NV[rows], scores_CLV.amax(dim=1).float())
    return y_NV


def total(
    states_TD: Tensor, packed: PackedTokens, score: Scorer, *, vocabulary: int, at_once: int = SCORES_AT_ONCE
) -> Tensor:
    """Return each word's summed scores in a sequence, (N, V), float32; `at_once` bounds a slice's scores."""
    y_NV = states_TD.new_zeros((len(packed), vocabulary), dtype=torch.float32)
    for rows, scores_CLV in _scored(states_TD, packed, score, limit=max(1, at_once // vocabulary)):
        y_NV[rows] += scores_CLV.float().sum(dim=1)
    return y_NV


@dataclass(frozen=True)
class _Piece:
    """Neighbouring sequences of one length, or a part of one sequence, within a slice."""

    row: int
    count: int
    start: int
    length: int


def _scored(
    states_TD: Tensor, packed: PackedTokens, score: Scorer, *, limit: int
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the scores of each piece, with the rows of its sequences."""
    for index, pieces in groupby(_pieces(packed, limit), key=lambda piece: piece.start // limit):
        first = index * limit
        scores_SV = score(states_TD[first : first + limit])
        for piece in pieces:
            start = piece.start - first
            scores_PV = scores_SV[start : start + piece.count * piece.length]
            rows = slice(piece.row, piece.row + piece.count)
            yield rows, scores_PV.view(piece.count, piece.length, -1)


def _pieces(packed: PackedTokens, limit: int) -> Iterator[_Piece]:
    """Yield runs, cut where a slice of `limit` tokens ends: whole sequences, or parts of one."""
    row = 0
    for run in packed.runs:
        token, end = run.start, run.start + run.count * run.length
        while token < end:
            done, offset = divmod(token - run.start, run.length)
            room = limit - token % limit
            whole = 0 if offset else min(room // run.length, run.count - done)
            length = run.length if whole else min(run.length - offset, room)
            yield _Piece(row=row + done, count=max(whole, 1), start=token, length=length)
            token += max(whole, 1) * length
        row += run.count
