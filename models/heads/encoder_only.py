"""The encoder's hidden states, and the pooler's vectors if the checkpoint has a pooler."""

from torch import nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.parts import SequenceSummary
from corpusmill.models.outputs import BaseOutput, EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class EncoderOnlyHead(nn.Module):
    """The hidden states and the pooler's vectors; `pooler` is None without a pooler."""

    def __init__(self, pooler: nn.Module | None) -> None:
        super().__init__()
        self.pooler = pooler

    def forward(self, encoded: EncoderOutput, packed: PackedTokens, _targets: HeadTargets) -> BaseOutput:
        states_TD = encoded.last_hidden_state
        return BaseOutput(
            last_hidden_state=states_TD,
            pooler_output=None if self.pooler is None else self.pooler(states_TD, packed),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> EncoderOnlyHead:
    pooler = parts.design.pooler if parts.pooler else None
    return EncoderOnlyHead(SequenceSummary(pooler, parts.width) if pooler else None)


SPEC = Head(task="base", classes=("Model",), build=_build, job_task="embedding")
