"""Whether the second part of a pair follows the first: two scores per sequence."""

from torch import nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.losses import class_loss
from corpusmill.models.heads.parts import SequenceSummary
from corpusmill.models.outputs import EncoderOutput, NextSentenceOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class NextSentenceHead(nn.Module):
    """Two scores per pair; label 0 is "follows", 1 is "a random one"."""

    def __init__(self, pooler: nn.Module, width: int) -> None:
        super().__init__()
        self.pooler = pooler
        self.relationship = nn.Linear(width, 2)

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, targets: HeadTargets
    ) -> NextSentenceOutput:
        logits_N2 = self.relationship(self.pooler(encoded.last_hidden_state, packed))
        return NextSentenceOutput(
            logits=logits_N2,
            loss=None if targets.labels is None else class_loss(logits_N2, targets.labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> NextSentenceHead:
    return NextSentenceHead(SequenceSummary(parts.design.classifier, parts.width), parts.width)


SPEC = Head(
    task="next-sentence-prediction",
    classes=("ForNextSentencePrediction",),
    build=_build,
    job_task="next-sentence-prediction",
    targets=("labels",),
)
