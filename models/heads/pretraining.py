"""BERT's two first tasks at once: the word at each token, and whether the second part follows the first.

Shape suffixes: P tokens to be scored (all, where none are named), N sequences, V vocabulary.
"""

from torch import Tensor, nn

from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.errors import InputError
from corpusmill.models.heads.losses import class_loss
from corpusmill.models.heads.parts import SequenceSummary, WordScores, states_to_score
from corpusmill.models.outputs import EncoderOutput, PreTrainingOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class PreTrainingHead(nn.Module):
    """The scores of both tasks; the loss is the sum of their losses."""

    def __init__(self, words: nn.Module, pooler: nn.Module, width: int) -> None:
        super().__init__()
        self.words = words
        self.pooler = pooler
        self.relationship = nn.Linear(width, 2)

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, targets: HeadTargets
    ) -> PreTrainingOutput:
        words_PV = self.words(states_to_score(encoded, targets))
        follows_N2 = self.relationship(self.pooler(encoded.last_hidden_state, packed))
        return PreTrainingOutput(
            prediction_logits=words_PV,
            seq_relationship_logits=follows_N2,
            loss=_loss(words_PV, follows_N2, targets),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _loss(words_PV: Tensor, follows_N2: Tensor, targets: HeadTargets) -> Tensor | None:
    labels_P, follows_N = targets.labels, targets.next_sentence_label
    if labels_P is None and follows_N is None:
        return None
    if labels_P is None or follows_N is None:
        raise InputError(f"{targets.given[0]}: expected labels and next_sentence_label, got one of them")
    return class_loss(words_PV, labels_P) + class_loss(follows_N2, follows_N, name="next_sentence_label")


def _build(parts: HeadParts) -> PreTrainingHead:
    words = WordScores(parts.design.words, width=parts.width, vocab_size=parts.vocab_size)
    return PreTrainingHead(words, SequenceSummary(parts.design.classifier, parts.width), parts.width)


SPEC = Head(
    task="pretraining",
    classes=("ForPreTraining",),
    build=_build,
    job_task="embedding",
    targets=("labels", "next_sentence_label", "scored_tokens"),
)
