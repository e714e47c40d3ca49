"""Labels for a whole sequence: the family's summary of it, then a linear map to one score per label."""

from torch import nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.losses import sequence_loss
from corpusmill.models.heads.parts import SequenceSummary
from corpusmill.models.outputs import EncoderOutput, SequenceClassifierOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class SequenceClassifierHead(nn.Module):
    """One score per label; architectures differ only in the summary's activation and in names."""

    def __init__(self, pooler: nn.Module, classifier: nn.Module, *, problem_type: str | None) -> None:
        super().__init__()
        self.pooler = pooler
        self.classifier = classifier
        self.problem_type = problem_type

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, targets: HeadTargets
    ) -> SequenceClassifierOutput:
        logits_NL = self.classifier(self.pooler(encoded.last_hidden_state, packed))
        labels = targets.labels
        return SequenceClassifierOutput(
            logits=logits_NL,
            loss=None if labels is None else sequence_loss(logits_NL, labels, problem_type=self.problem_type),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> SequenceClassifierHead:
    return SequenceClassifierHead(
        SequenceSummary(parts.design.classifier, parts.width),
        nn.Linear(parts.width, parts.labels),
        problem_type=parts.problem_type,
    )


SPEC = Head(
    task="text-classification",
    classes=("ForSequenceClassification",),
    build=_build,
    job_task="text-classification",
    targets=("labels",),
)
