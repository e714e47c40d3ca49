"""One weight per word for each sequence, from the scores that a masked language model gives its tokens.

SPLADE (Formal et al., 2021, https://arxiv.org/abs/2109.10086), after sentence-transformers' SpladePooling;
special tokens count. Shape suffixes: T tokens of all sequences, N sequences, V vocabulary.
"""

from functools import partial

from torch import Tensor, nn

from corpusmill.models.checkpoints.sentence_pooling import Splade
from corpusmill.models.checkpoints.spec import Head, HeadParts
from corpusmill.models.heads.parts import WordScores
from corpusmill.models.ops.vocabulary import largest, total
from corpusmill.models.outputs import EncoderOutput, SparseEmbeddingOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class SparseEmbeddingHead(nn.Module):
    """The largest (or all) of a sequence's scores for a word, on a logarithmic scale."""

    def __init__(self, words: nn.Module, *, vocabulary: int, splade: Splade) -> None:
        super().__init__()
        self.words = words
        self.vocabulary = vocabulary
        self.splade = splade

    def forward(
        self, encoded: EncoderOutput, packed: PackedTokens, _targets: HeadTargets
    ) -> SparseEmbeddingOutput:
        states_TD = encoded.last_hidden_state
        return SparseEmbeddingOutput(
            weights=self._weights(states_TD, packed),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def _weights(self, states_TD: Tensor, packed: PackedTokens) -> Tensor:
        dampen = partial(_dampen, times=self.splade.logarithms)
        if self.splade.strategy == "sum":
            return total(
                states_TD, packed, lambda x: dampen(self.words(x).float()), vocabulary=self.vocabulary
            )
        # The logarithm keeps the order, so it is applied only to the largest scores.
        return dampen(largest(states_TD, packed, self.words, vocabulary=self.vocabulary))


def _dampen(scores: Tensor, *, times: int) -> Tensor:
    """Replace scores by log(1 + x) of their positive part, repeated `times` times."""
    scores.relu_()
    for _ in range(times):
        scores.log1p_()
    return scores


def _build(parts: HeadParts) -> SparseEmbeddingHead:
    words = WordScores(parts.design.words, width=parts.width, vocab_size=parts.vocab_size)
    return SparseEmbeddingHead(words, vocabulary=parts.vocab_size, splade=parts.splade)


SPEC = Head(task="sparse-embedding", classes=(), build=_build, job_task="sparse-embedding")
