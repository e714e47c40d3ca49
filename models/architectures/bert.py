"""BERT (Devlin et al., 2019, https://arxiv.org/abs/1810.04805), after transformers' modeling_bert.

Learned absolute positions, two token types, post-norm layers, and a tanh pooler over [CLS] that the sequence
classifier reads. Decoder variants and relative positions are refused.
"""

from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from corpusmill.models.checkpoints.config_fields import Fields
from corpusmill.models.checkpoints.renames import EMBEDDINGS, LABELS, POOLER, PREDICTIONS
from corpusmill.models.checkpoints.spec import Architecture, HeadDesign, Summary, WordHead
from corpusmill.models.flops import attention_flops, linear_flops
from corpusmill.models.layers.activations import known_activation
from corpusmill.models.layers.blocks import FeedForward, PostNormLayer, SelfAttention, Stack, TokenEmbeddings
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest


@dataclass(frozen=True)
class BertConfig:
    """The fields of config.json that change what is computed."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    inner: int
    activation: str
    eps: float
    max_positions: int
    token_types: int

    @classmethod
    def from_hf(cls, raw: dict[str, Any]) -> Self:
        """Read transformers' names, with its defaults for the optional ones."""
        fields = Fields(raw)
        fields.divisible("hidden_size", by="num_attention_heads")
        return cls(
            vocab_size=fields.size("vocab_size"),
            width=fields.size("hidden_size"),
            layers=fields.layers("num_hidden_layers"),
            heads=fields.size("num_attention_heads"),
            inner=fields.size("intermediate_size"),
            activation=known_activation(fields.get("hidden_act", "gelu"), field="hidden_act"),
            eps=fields.get("layer_norm_eps", 1e-12),
            max_positions=fields.get_size("max_position_embeddings", 512),
            token_types=fields.get_size("type_vocab_size", 2),
        )

    @property
    def embedding_size(self) -> int:
        return self.width

    def head_design(self) -> HeadDesign:
        """Return the head design: every head but the taggers reads the tanh pooler."""
        words = WordHead(self.activation, width=self.width, tied_width=self.width, eps=self.eps)
        return HeadDesign(pooler=Summary(), classifier=Summary(), choice=Summary(), words=words)

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of all layers for one token of a sequence of this length."""
        width, inner = self.width, self.inner
        linear = linear_flops((width, 4 * width), (width, inner), (inner, width))
        return self.layers * (linear + attention_flops(width=width, length=length))


class BertEncoder(nn.Module):
    """Embeddings and a stack of post-norm layers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = TokenEmbeddings(
            vocab_size=config.vocab_size,
            width=config.width,
            positions=config.max_positions,
            token_types=config.token_types,
            eps=config.eps,
        )
        self.layers = Stack(
            PostNormLayer(
                attention=SelfAttention(config.width, config.heads),
                feed_forward=FeedForward(config.width, config.inner, config.activation),
                width=config.width,
                eps=config.eps,
            )
            for _ in range(config.layers)
        )

    def forward(self, packed: PackedTokens, request: EncoderRequest) -> EncoderOutput:
        return self.layers.forward(self.embeddings(packed, request.inputs_embeds), packed, request)


RENAMES = (
    *EMBEDDINGS,
    ("encoder.layers.", "encoder.layer."),
    (".attention.projections.", ".attention.self."),
    (".attention.output.", ".attention.output.dense."),
    (".attention_norm.", ".attention.output.LayerNorm."),
    (".feed_forward.inner.linear.", ".intermediate.dense."),
    (".feed_forward.outer.", ".output.dense."),
    (".feed_forward_norm.", ".output.LayerNorm."),
    *POOLER,
    *PREDICTIONS,
    *LABELS,
)

SPEC = Architecture(
    model_type="bert",
    class_prefix="Bert",
    config=BertConfig.from_hf,
    encoder=BertEncoder,
    heads=BertConfig.head_design,
    prefix="bert.",
    renames=RENAMES,
    head_tensors=("pooler.", "cls.", "classifier.", "qa_outputs."),
    output_bias="cls.predictions.bias",
)
