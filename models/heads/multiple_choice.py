"""The choice among several continuations: one score per sequence, in rows of `num_choices`."""

from torch import nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.errors import InputError
from corpusmill.models.heads.losses import class_loss
from corpusmill.models.heads.parts import SequenceSummary
from corpusmill.models.outputs import EncoderOutput, MultipleChoiceOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class MultipleChoiceHead(nn.Module):
    """One score per choice; the choices of a question are neighbouring sequences."""

    def __init__(self, summary: nn.Module, scorer: nn.Module) -> None:
        super().__init__()
        self.summary = summary
        self.scorer = scorer

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, targets: HeadTargets
    ) -> MultipleChoiceOutput:
        choices = _choices(targets.num_choices, sequences=len(packed))
        logits = self.scorer(self.summary(encoded.last_hidden_state, packed)).view(-1, choices)
        return MultipleChoiceOutput(
            logits=logits,
            loss=None if targets.labels is None else class_loss(logits, targets.labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _choices(num_choices: int | None, *, sequences: int) -> int:
    if num_choices is None or num_choices < 1 or sequences % num_choices:
        raise InputError(
            f"num_choices: expected a divisor of the batch's {sequences} sequences, got {num_choices}"
        )
    return num_choices


def _build(parts: HeadParts) -> MultipleChoiceHead:
    return MultipleChoiceHead(SequenceSummary(parts.design.choice, parts.width), nn.Linear(parts.width, 1))


SPEC = Head(
    task="multiple-choice",
    classes=("ForMultipleChoice",),
    build=_build,
    job_task="multiple-choice",
    targets=("labels", "num_choices"),
)
