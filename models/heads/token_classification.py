"""Labels for each token: a linear map to one score per label."""

from torch import nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.losses import class_loss
from corpusmill.models.outputs import EncoderOutput, TokenClassifierOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class TokenClassifierHead(nn.Module):
    """One score per label for each token, the same in every family."""

    def __init__(self, *, width: int, labels: int) -> None:
        super().__init__()
        self.tagger = nn.Linear(width, labels)

    def forward(
        self, encoded: EncoderOutput, _packed: PackedTokens, targets: HeadTargets
    ) -> TokenClassifierOutput:
        logits_TL = self.tagger(encoded.last_hidden_state)
        return TokenClassifierOutput(
            logits=logits_TL,
            loss=None if targets.labels is None else class_loss(logits_TL, targets.labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> TokenClassifierHead:
    return TokenClassifierHead(width=parts.width, labels=parts.labels)


SPEC = Head(
    task="token-classification",
    classes=("ForTokenClassification",),
    build=_build,
    job_task="token-classification",
    targets=("labels",),
)
