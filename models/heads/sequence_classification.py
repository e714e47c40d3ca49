"""Labels for a whole sequence: the family's summary of it, then a linear map to one score per label.

A cross-encoder of sentence-transformers may have modules that change these scores, or that make scores of a
pooled vector in place of the family's head.
"""

from torch import Tensor, nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.losses import sequence_loss
from corpusmill.models.heads.parts import SequenceSummary, VectorModules, vector_modules, vector_step
from corpusmill.models.outputs import EncoderOutput, SequenceClassifierOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class SequenceClassifierHead(nn.Module):
    """One score per label; architectures differ only in the summary's activation and in names.

    `steps` are the modules after the classifier, in float32.
    """

    def __init__(
        self, pooler: nn.Module, classifier: nn.Module, steps: list[nn.Module], *, problem_type: str | None
    ) -> None:
        super().__init__()
        self.pooler = pooler
        self.classifier = classifier
        self.steps = nn.ModuleList(steps)
        self.problem_type = problem_type

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, targets: HeadTargets
    ) -> SequenceClassifierOutput:
        logits_NL = self.classifier(self.pooler(encoded.last_hidden_state, packed))
        for step in self.steps:
            logits_NL = step(logits_NL.float())
        return _output(logits_NL, encoded, targets, self.problem_type)


class ModuleScoresHead(VectorModules):
    """Scores that a cross-encoder's modules make of a pooled vector."""

    problem_type: str | None = None

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, targets: HeadTargets
    ) -> SequenceClassifierOutput:
        return _output(self.vectors(encoded, packed), encoded, targets, self.problem_type)


def _output(
    logits_NL: Tensor, encoded: EncoderOutput, targets: HeadTargets, problem_type: str | None
) -> SequenceClassifierOutput:
    labels = targets.labels
    return SequenceClassifierOutput(
        logits=logits_NL,
        loss=None if labels is None else sequence_loss(logits_NL, labels, problem_type=problem_type),
        hidden_states=encoded.hidden_states,
        attentions=encoded.attentions,
    )


def _build(parts: HeadParts) -> nn.Module:
    plan = parts.embedding
    if plan.scores and plan.pooling:
        head = ModuleScoresHead(*vector_modules(parts))
        head.problem_type = parts.problem_type
        return head
    return SequenceClassifierHead(
        SequenceSummary(parts.design.classifier, parts.width),
        nn.Linear(parts.width, parts.labels),
        [vector_step(step) for step in plan.steps] if plan.scores else [],
        problem_type=parts.problem_type,
    )


SPEC = Head(
    task="text-classification",
    classes=("ForSequenceClassification",),
    build=_build,
    job_task="text-classification",
    targets=("labels",),
)
