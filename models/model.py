"""A loaded model: an encoder and a head, called with packed tokens.

Shape suffixes: T tokens of all sequences, N sequences, E word-vector width.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from corpusmill.models.checkpoints.checkpoint import Checkpoint
from corpusmill.models.errors import InputError
from corpusmill.models.heads import HEADS
from corpusmill.models.heads.losses import expect_shape
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest, HeadTargets


class Model(nn.Module):
    """A model that turns packed tokens into the task's output record.

    `kernel_reason` names the chosen linear and attention kernels, with the reasons.
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
    def forward(  # noqa: PLR0913 -- the options of transformers' models, under their names
        self,
        packed: PackedTokens,
        *,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        num_choices: int | None = None,
        scored_tokens: Tensor | None = None,
    ) -> Any:
        """Run the batch and return the task's output record.

        `position_ids` (T,) replaces each sequence's 0, 1, 2, ...; `inputs_embeds` (T, E) replaces the vectors
        of the input ids; `head_mask` (heads,) or (layers, heads) scales the results of attention heads.

        With labels the output has a `loss`. Labels are (N,) for one answer per sequence: integers for
        classes, floats for regression, and (N, L) for several labels at once. They are (T,) for one answer
        per token, with -100 for tokens that do not count, and one per question where `num_choices`
        neighbouring sequences are its choices. `scored_tokens` (P,), int64, names the tokens of the batch
        that get word scores; logits and labels are then (P, V) and (P,), in its order.

        Raises InputError for ids, types, positions or lengths that the checkpoint has no vectors for, and
        for options that the head does not take.
        """
        targets = HeadTargets(
            labels, start_positions, end_positions, next_sentence_label, num_choices, scored_tokens
        )
        self._check_targets(targets)
        if scored_tokens is not None:
            _check_tokens_of(packed, scored_tokens)
        if position_ids is not None:
            expect_shape("position_ids", position_ids, tuple(packed.input_ids.shape))
        self._check_tokens(packed, position_ids, inputs_embeds)
        packed = packed.to(self.device)
        if position_ids is not None:
            packed = replace(packed, position_ids=position_ids.to(self.device))
        request = EncoderRequest(
            inputs_embeds=self._weights(inputs_embeds),
            head_mask=self._weights(self._head_mask(head_mask)),
            hidden_states=output_hidden_states,
            attentions=output_attentions,
            layers=self.checkpoint.layers_run,
        )
        return self.head(self.encoder(packed, request), packed, self._moved(targets))

    def _check_targets(self, targets: HeadTargets) -> None:
        head = HEADS[self.checkpoint.task]
        for name in targets.given:
            if name not in head.targets:
                raise InputError(
                    f"{name}: expected {' and '.join(head.targets) or 'no labels'} for {head.task}, "
                    "which does not take this option"
                )

    def _check_tokens(
        self, packed: PackedTokens, position_ids: Tensor | None, inputs_embeds: Tensor | None
    ) -> None:
        config = self.checkpoint.config
        if position_ids is not None:
            _check_range("position_ids", position_ids, config.max_positions)
        elif packed.max_length > config.max_positions:
            raise InputError(
                f"sequence length: expected at most {config.max_positions} tokens, the positions of "
                f"{self.checkpoint.path}, got {packed.max_length}; truncate or split longer texts"
            )
        if inputs_embeds is None:
            _check_range("input_ids", packed.input_ids, config.vocab_size)
        else:
            expect_shape("inputs_embeds", inputs_embeds, (len(packed.input_ids), config.embedding_size))
        if packed.token_types is not None and config.token_types:
            _check_range("token_types", packed.token_types, config.token_types)

    def _head_mask(self, head_mask: Tensor | None) -> Tensor | None:
        """Return the factors by layer and head."""
        if head_mask is None:
            return None
        config = self.checkpoint.config
        if head_mask.ndim == 1:
            expect_shape("head_mask", head_mask, (config.heads,))
            return head_mask.expand(config.layers, -1)
        expect_shape("head_mask", head_mask, (config.layers, config.heads))
        return head_mask

    def _weights(self, values: Tensor | None) -> Tensor | None:
        return None if values is None else values.to(device=self.device, dtype=self.dtype)

    def _moved(self, targets: HeadTargets) -> HeadTargets:
        values: dict[str, Any] = {name: getattr(targets, name) for name in targets.given}
        tensors = {name: x for name, x in values.items() if isinstance(x, Tensor)}
        return replace(targets, **{name: x.to(self.device) for name, x in tensors.items()})  # type: ignore[arg-type]


def _check_tokens_of(packed: PackedTokens, tokens_P: Tensor) -> None:
    if tokens_P.ndim != 1 or tokens_P.dtype != torch.int64:
        raise InputError(
            f"scored_tokens: expected one dimension of int64, got {tokens_P.dtype} of shape "
            f"{tuple(tokens_P.shape)}"
        )
    limit = len(packed.input_ids)
    if tokens_P.device.type == "cpu" and ((tokens_P < 0) | (tokens_P >= limit)).any():
        low, high = (int(bound) for bound in tokens_P.aminmax())
        raise InputError(
            f"scored_tokens: expected 0 to {limit - 1}, the tokens of the batch, got "
            f"{low if low < 0 else high}"
        )


def _check_range(name: str, ids_T: Tensor, limit: int) -> None:
    """Check ids on the CPU only, where it costs nothing; a check on a GPU would make the host wait."""
    if ids_T.device.type == "cpu":
        low, high = (int(bound) for bound in ids_T.aminmax())
        if low < 0 or high >= limit:
            raise InputError(
                f"{name}: expected 0 to {limit - 1}, got {low if low < 0 else high}; "
                "was the text tokenized with this checkpoint's tokenizer?"
            )
