"""An encoder that runs small batches padded to a few sizes, and on a GPU as graphs recorded once per size.

In small batches of a narrow, deep model the host needs longer to launch each of hundreds of kernels than the
device needs to run it. A recorded graph launches all of them at once. The padded pass gives the same bytes
with and without a graph, so that it does not matter when a graph was recorded.
Shape suffixes: T tokens, D width.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from corpusmill.models.gpu.padded_sizes import LinearMap, PaddedSize, launch_bound
from corpusmill.models.ops.padding import padded, padded_size_of
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest


class Runner(Protocol):
    """A function that runs an encoder on a padded batch."""

    def __call__(self, batch: PackedTokens, size: PaddedSize, request: EncoderRequest) -> Tensor:
        """Return the states (T, D) of all tokens; the caller may keep them."""


class PaddedEncoder(nn.Module):
    """An encoder that pads batches of at most `limit` tokens for a runner; larger ones run as they are.

    Without a runner the padded batch runs through the encoder, which graphs are tested against.
    """

    def __init__(
        self, encoder: nn.Module, *, positions: int, limit: int, runner: Runner | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.positions = positions
        self.limit = limit
        self.runner = runner

    def forward(self, packed: PackedTokens, request: EncoderRequest) -> EncoderOutput:
        tokens = len(packed.input_ids)
        if tokens > self.limit or not _plain(packed, request):
            return self.encoder(packed, request)  # type: ignore[no-any-return]
        size = padded_size_of(packed, positions=self.positions)
        batch = padded(packed, size)
        states_TD = self._run(batch, size, request)
        return EncoderOutput(last_hidden_state=states_TD[:tokens])

    def _run(self, batch: PackedTokens, size: PaddedSize, request: EncoderRequest) -> Tensor:
        if self.runner is not None:
            return self.runner(batch, size, request)
        encoded: EncoderOutput = self.encoder(batch, request)
        return encoded.last_hidden_state


def limit_of(encoder: nn.Module, *, dtype: torch.dtype) -> int:
    """Return the tokens of a batch below which the host limits a GPU, from the encoder's weights."""
    weights = [(name, parameter) for name, parameter in encoder.named_parameters() if parameter.ndim > 1]
    maps = [
        LinearMap(parameter.numel(), parameter.shape[:-2].numel() * sum(parameter.shape[-2:]))
        for name, parameter in weights
        if not name.startswith("embeddings.")
    ]
    calls = sum(1 for module in encoder.modules() if not any(True for _ in module.children()))
    return launch_bound(maps, calls=calls, bytes_per_value=dtype.itemsize)


def _plain(packed: PackedTokens, request: EncoderRequest) -> bool:
    """Return whether a call needs only the last states, and no token is masked."""
    asked = request.inputs_embeds is not None or request.head_mask is not None
    kept = request.hidden_states or request.attentions
    return not (asked or kept or packed.is_masked)
