"""Embeddings laid out for a GPU: their sum and its norm in one kernel. Inference only.

Shape suffixes: T tokens, D width, E word-vector width.
"""

from torch import Tensor, nn

from corpusmill.models.architectures.mobilebert import MobileEmbeddings
from corpusmill.models.gpu.records import Norm, Rows
from corpusmill.models.gpu.sum_and_norm import SumAndNormKernels
from corpusmill.models.layers.blocks import TokenEmbeddings, types_of
from corpusmill.models.packed import PackedTokens


class SummedEmbeddings(nn.Module):
    """Token embeddings whose sum is normed in one kernel."""

    def __init__(
        self, embeddings: TokenEmbeddings | MobileEmbeddings, norm: Norm, kernels: SumAndNormKernels
    ) -> None:
        super().__init__()
        self.words = embeddings.words
        self.positions = embeddings.positions
        self.token_types = embeddings.token_types
        self.norm = norm
        self.kernels = kernels

    def summed(self, words: Rows, packed: PackedTokens) -> Tensor:
        """Return the norm of each token's word, position and type added up, (T, D)."""
        places = Rows(self.positions.weight, packed.position_ids)
        kinds = None if self.token_types is None else Rows(self.token_types.weight, types_of(packed))
        return self.kernels.embedded(words, places, kinds, self.norm)


class SummedTokens(SummedEmbeddings):
    """The embeddings of all architectures but MobileBERT."""

    def __init__(self, embeddings: TokenEmbeddings, norm: Norm, kernels: SumAndNormKernels) -> None:
        super().__init__(embeddings, norm, kernels)
        self.projection = embeddings.projection

    def forward(self, packed: PackedTokens, inputs_embeds: Tensor | None = None) -> Tensor:
        words = Rows(self.words.weight, packed.input_ids) if inputs_embeds is None else Rows(inputs_embeds)
        x_TE = self.summed(words, packed)
        return x_TE if self.projection is None else self.projection(x_TE)


class SummedTrigrams(SummedEmbeddings):
    """MobileBERT's embeddings, whose words are widened from trigrams."""

    def __init__(self, embeddings: MobileEmbeddings, norm: Norm, kernels: SumAndNormKernels) -> None:
        super().__init__(embeddings, norm, kernels)
        assert embeddings.widen is not None
        self.widen: nn.Module = embeddings.widen

    def forward(self, packed: PackedTokens, inputs_embeds: Tensor | None = None) -> Tensor:
        words = Rows(self.words.weight, packed.input_ids) if inputs_embeds is None else Rows(inputs_embeds)
        x_TD = self.widen(self.kernels.trigrams(words, packed.bounds))
        return self.summed(Rows(x_TD), packed)


def summed_embeddings(module: nn.Module, kernels: SumAndNormKernels) -> SummedEmbeddings | None:
    """Return the embeddings with sum and norm in one kernel; None for other modules and layouts."""
    if not isinstance(module, TokenEmbeddings | MobileEmbeddings):
        return None
    norm = Norm.of(module.norm)
    if norm is None:
        return None
    if isinstance(module, TokenEmbeddings):
        return SummedTokens(module, norm, kernels)
    return SummedTrigrams(module, norm, kernels) if module.trigram and module.widen is not None else None
