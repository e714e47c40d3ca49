"""The loss that needs to know where a sequence ends: the place of an answer among its own tokens.

Shape suffixes: T tokens of all sequences, N sequences, L one sequence's tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from corpusmill.models.packed import PackedTokens


def position_loss(logits_T: Tensor, positions_N: Tensor, packed: PackedTokens) -> Tensor:
    """Mean cross-entropy of a position within each sequence; those beyond a sequence's end do not count.

    As transformers computes it for a sequence alone: negative positions count as 0, and where no position
    counts the loss is NaN.
    """
    losses = [
        F.cross_entropy(logits_L, position.clamp(min=0))
        for logits_L, position in zip(packed.split(logits_T.float()), positions_N, strict=True)
        if position < len(logits_L)
    ]
    return torch.stack(losses).mean() if losses else torch.tensor(float("nan"), device=logits_T.device)
