"""The loss of an answer's position among the tokens of its own sequence, which needs the sequence's ends.

Shape suffixes: T tokens of all sequences, N sequences, L one sequence's tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.packed import PackedTokens


def position_loss(logits_T: Tensor, positions_N: Tensor, packed: PackedTokens) -> Tensor:
    """Return the mean cross-entropy of a position in each sequence; positions beyond its end do not count.

    As transformers computes it for a sequence alone: negative positions count as 0, and where no position
    counts the loss is NaN.
    """
    losses = [
        F.cross_entropy(logits_L, position.clamp(min=0))
        for logits_L, position in zip(packed.split(logits_T.float()), positions_N, strict=True)
        if position < len(logits_L)
    ]
    return torch.stack(losses).mean() if losses else torch.tensor(float("nan"), device=logits_T.device)
