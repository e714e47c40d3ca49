"""Labels for a whole sequence: first token, linear map and activation, linear map to one score a label."""

from torch import nn

from corpusmill.models.blocks import ActivatedLinear
from corpusmill.models.ops.pooling import first
from corpusmill.models.outputs import Encoded, SequenceClassifierOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.spec import Head, HeadParts


class SequenceClassifier(nn.Module):
    """The architectures differ in the activation and in the checkpoint's names only."""

    def __init__(self, *, width: int, labels: int, activation: str) -> None:
        super().__init__()
        self.pooler = ActivatedLinear(width, width, activation)
        self.classifier = nn.Linear(width, labels)

    def forward(self, encoded: Encoded, packed: PackedTokens) -> SequenceClassifierOutput:
        pooled_ND = self.pooler(first(encoded.last_hidden_state, packed))
        return SequenceClassifierOutput(
            logits=self.classifier(pooled_ND),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> SequenceClassifier:
    activation = parts.architecture.class_activation
    return SequenceClassifier(width=parts.width, labels=parts.labels, activation=activation)


SPEC = Head(task="text-classification", classes=("ForSequenceClassification",), build=_build)
