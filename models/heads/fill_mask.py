"""The word at each token: one score per word of the vocabulary.

Shape suffixes: P tokens to be scored (all, where none are named), V vocabulary.
"""

from torch import nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.losses import class_loss
from corpusmill.models.heads.parts import WordScores, states_to_score
from corpusmill.models.outputs import EncoderOutput, MaskedLMOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class FillMaskHead(nn.Module):
    """Scores for every token, masked or not, or for the `scored_tokens`; labels are one per row of scores."""

    def __init__(self, words: nn.Module) -> None:
        super().__init__()
        self.words = words

    def forward(self, encoded: EncoderOutput, _packed: PackedTokens, targets: HeadTargets) -> MaskedLMOutput:
        logits_PV = self.words(states_to_score(encoded, targets))
        return MaskedLMOutput(
            logits=logits_PV,
            loss=None if targets.labels is None else class_loss(logits_PV, targets.labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _build(parts: HeadParts) -> FillMaskHead:
    return FillMaskHead(WordScores(parts.design.words, width=parts.width, vocab_size=parts.vocab_size))


SPEC = Head(
    task="fill-mask",
    classes=("ForMaskedLM",),
    build=_build,
    job_task="fill-mask",
    targets=("labels", "scored_tokens"),
)
