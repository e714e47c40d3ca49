"""A loaded model: an encoder and a head, called with packed tokens.

Shape suffixes: T tokens of all sequences.
"""

from typing import Any

import torch
from torch import Tensor, nn

from corpusmill.models.checkpoint import Checkpoint
from corpusmill.models.errors import InputError
from corpusmill.models.packed import PackedTokens


class Model(nn.Module):
    """Turns packed tokens into the task's output record.

    `kernel_reason` says which linear and attention kernels were chosen, and why.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        parts: nn.ModuleDict,
        *,
        dtype: torch.dtype,
        device: torch.device,
        reason: str,
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.encoder = parts["encoder"]
        self.head = parts["head"]
        self.dtype = dtype
        self.device = device
        self.kernel_reason = reason

    @torch.inference_mode()
    def forward(
        self,
        packed: PackedTokens,
        *,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Any:
        """Runs the batch; `position_ids` (T,) replaces each sequence's 0, 1, 2, ...

        Raises InputError for ids, types, positions or lengths that the checkpoint has no vectors for.
        """
        self._check(packed, position_ids)
        packed = packed.to(self.device)
        positions_T = packed.position_ids if position_ids is None else position_ids.to(self.device)
        encoded = self.encoder(
            packed, positions_T, hidden_states=output_hidden_states, attentions=output_attentions
        )
        return self.head(encoded, packed)

    def _check(self, packed: PackedTokens, position_ids: Tensor | None) -> None:
        config = self.checkpoint.config
        if position_ids is None:
            if packed.max_length > config.max_positions:
                raise InputError(
                    f"sequence length: expected at most {config.max_positions} tokens, the positions of "
                    f"{self.checkpoint.path}, got {packed.max_length}; truncate or split longer texts"
                )
        elif position_ids.shape != packed.input_ids.shape:
            expected, got = tuple(packed.input_ids.shape), tuple(position_ids.shape)
            raise InputError(f"position_ids: expected shape {expected}, one a token, got {got}")
        else:
            _check_range("position_ids", position_ids, config.max_positions)
        _check_range("input_ids", packed.input_ids, config.vocab_size)
        if packed.token_types is not None and config.token_types:
            _check_range("token_types", packed.token_types, config.token_types)


def _check_range(name: str, ids_T: Tensor, limit: int) -> None:
    """Checks on the CPU only, where it costs nothing; asking a GPU would make it wait."""
    if ids_T.device.type == "cpu":
        low, high = (int(bound) for bound in ids_T.aminmax())
        if low < 0 or high >= limit:
            raise InputError(
                f"{name}: expected 0 to {limit - 1}, got {low if low < 0 else high}; "
                "was the text tokenized with this checkpoint's tokenizer?"
            )
