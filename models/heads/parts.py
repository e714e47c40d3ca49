"""Parts of several heads: one vector per sequence, and scores of words.

Shape suffixes: T tokens of all sequences, P tokens to be scored, N sequences, D width, V vocabulary.
"""

from torch import Tensor, nn

from corpusmill.models.checkpoints.spec import Summary, WordHead
from corpusmill.models.layers.activations import Activation
from corpusmill.models.layers.blocks import ActivatedLinear
from corpusmill.models.ops.pooling import POOLINGS
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import HeadTargets


class SequenceSummary(nn.Module):
    """One vector per sequence, (N, D)."""

    def __init__(self, summary: Summary, width: int) -> None:
        super().__init__()
        self.pool = POOLINGS[summary.pooling]
        self.map: nn.Module = (
            ActivatedLinear(width, width, summary.activation)
            if summary.linear
            else Activation(summary.activation)
        )

    def forward(self, states_TD: Tensor, packed: PackedTokens) -> Tensor:
        return self.map(self.pool(states_TD, packed))  # type: ignore[no-any-return]


class WordScores(nn.Module):
    """One score per word for each token, (T, V)."""

    def __init__(self, words: WordHead, *, width: int, vocab_size: int) -> None:
        super().__init__()
        self.transform: nn.Module = ActivatedLinear(width, words.width, words.activation)
        self.norm = nn.LayerNorm(words.width, eps=words.eps)
        self.decoder = nn.Linear(words.tied_width, vocab_size)
        self.tied_width = words.tied_width
        rest = words.width - words.tied_width
        self.rest = nn.Linear(rest, vocab_size, bias=False) if rest else None

    def forward(self, states_TD: Tensor) -> Tensor:
        x_TD = self.norm(self.transform(states_TD))
        if self.rest is None:
            return self.decoder(x_TD)  # type: ignore[no-any-return]
        return self.decoder(x_TD[:, : self.tied_width]) + self.rest(x_TD[:, self.tied_width :])  # type: ignore[no-any-return]


def states_to_score(encoded: EncoderOutput, targets: HeadTargets) -> Tensor:
    """Return the states (P, D) of the tokens to score; of all tokens where none are named."""
    states_TD = encoded.last_hidden_state
    return states_TD if targets.scored_tokens is None else states_TD[targets.scored_tokens]
