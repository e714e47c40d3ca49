"""The encoder's hidden states as they are, and the pooler's vectors where the checkpoint has a pooler."""

from torch import nn

from corpusmill.models.blocks import ActivatedLinear
from corpusmill.models.ops.pooling import first
from corpusmill.models.outputs import BaseOutput, Encoded
from corpusmill.models.packed import PackedTokens
from corpusmill.models.spec import Head, HeadParts


class EncoderOnly(nn.Module):
    """`pooler=None` for architectures and checkpoints without one."""

    def __init__(self, pooler: nn.Module | None) -> None:
        super().__init__()
        self.pooler = pooler

    def forward(self, encoded: Encoded, packed: PackedTokens) -> BaseOutput:
        states_TD = encoded.last_hidden_state
        return BaseOutput(
            last_hidden_state=states_TD,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
            pooler_output=None if self.pooler is None else self.pooler(first(states_TD, packed)),
        )


def _build(parts: HeadParts) -> EncoderOnly:
    return EncoderOnly(ActivatedLinear(parts.width, parts.width, "tanh") if parts.pooler else None)


SPEC = Head(task="base", classes=("Model", "ForMaskedLM", "ForPreTraining"), build=_build)
