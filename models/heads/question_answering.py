"""Where an answer starts and ends: two scores per token."""

from torch import Tensor, nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.errors import InputError
from corpusmill.models.heads.losses import expect_shape
from corpusmill.models.ops.losses import position_loss
from corpusmill.models.outputs import EncoderOutput, QuestionAnsweringOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class QuestionAnsweringHead(nn.Module):
    """Two scores per token, the same in every family."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spans = nn.Linear(width, 2)

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, targets: HeadTargets
    ) -> QuestionAnsweringOutput:
        start_T, end_T = self.spans(encoded.last_hidden_state).unbind(-1)
        return QuestionAnsweringOutput(
            start_logits=start_T,
            end_logits=end_T,
            loss=_loss(start_T, end_T, packed, targets),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _loss(start_T: Tensor, end_T: Tensor, packed: PackedTokens, targets: HeadTargets) -> Tensor | None:
    """Return the mean loss of both positions, counted from the first token of a sequence."""
    starts_N, ends_N = targets.start_positions, targets.end_positions
    if starts_N is None and ends_N is None:
        return None
    if starts_N is None or ends_N is None:
        raise InputError(f"{targets.given[0]}: expected start_positions and end_positions, got one of them")
    expect_shape("start_positions", starts_N, (len(packed),))
    expect_shape("end_positions", ends_N, (len(packed),))
    return (position_loss(start_T, starts_N, packed) + position_loss(end_T, ends_N, packed)) / 2


def _build(parts: HeadParts) -> QuestionAnsweringHead:
    return QuestionAnsweringHead(parts.width)


SPEC = Head(
    task="question-answering",
    classes=("ForQuestionAnswering",),
    build=_build,
    job_task="question-answering",
    targets=("start_positions", "end_positions"),
    labels=2,
)
