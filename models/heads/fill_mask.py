"""The word at each token: one score a word of the vocabulary."""

from torch import nn

from corpusmill.models.head_parts import WordScores
from corpusmill.models.losses import class_loss
from corpusmill.models.outputs import Encoded, MaskedLMOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import Targets
from corpusmill.models.spec import Head, HeadParts


class FillMask(nn.Module):
    """Scores for every token, masked or not."""

    def __init__(self, words: nn.Module) -> None:
        super().__init__()
        self.words = words

    def forward(self, encoded: Encoded, _packed: PackedTokens, targets: Targets) -> MaskedLMOutput:
        logits_TV = self.words(encoded.last_hidden_state)
        return MaskedLMOutput(
            logits=logits_TV,
            loss=None if targets.labels is None else class_loss(logits_TV, targets.labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> FillMask:
    return FillMask(WordScores(parts.design.words, width=parts.width, vocab_size=parts.vocab_size))


SPEC = Head(
    task="fill-mask", classes=("ForMaskedLM",), build=_build, job_task="fill-mask", targets=("labels",)
)
