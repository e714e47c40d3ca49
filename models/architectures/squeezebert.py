"""SqueezeBERT (Iandola et al., 2020, https://arxiv.org/abs/2006.11316), after modeling_squeezebert.

BERT with grouped linear maps, stored as convolutions of kernel size 1. The layers' norms have eps 1e-12
whatever the config says (embeddings and word scores follow it), and its `attentions` are the scores before
the softmax. The official checkpoints have 30528 word vectors for a tokenizer of 30522.
"""

from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from corpusmill.models.checkpoints.config_fields import Fields
from corpusmill.models.checkpoints.renames import EMBEDDINGS, LABELS, POOLER, PREDICTIONS
from corpusmill.models.checkpoints.spec import Architecture, HeadDesign, Summary, WordHead
from corpusmill.models.checkpoints.tensor_layouts import CONVOLUTION
from corpusmill.models.errors import ConfigError
from corpusmill.models.flops import attention_flops, linear_flops
from corpusmill.models.layers.activations import known_activation
from corpusmill.models.layers.blocks import FeedForward, PostNormLayer, SelfAttention, Stack, TokenEmbeddings
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest

LAYER_EPS = 1e-12


@dataclass(frozen=True)
class SqueezeBertConfig:
    """The fields of config.json that change what is computed.

    `attention_groups` are those of query, key, value and the map after attention; `feed_forward_groups`
    those of the two maps of the feed-forward part.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    inner: int
    activation: str
    eps: float
    max_positions: int
    token_types: int
    attention_groups: tuple[int, int, int, int]
    feed_forward_groups: tuple[int, int]

    @classmethod
    def from_hf(cls, raw: dict[str, Any]) -> Self:
        """Read transformers' names, with its defaults for the optional ones."""
        fields = Fields(raw)
        fields.divisible("hidden_size", by="num_attention_heads")
        width, inner = fields.size("hidden_size"), fields.size("intermediate_size")
        if fields.get_size("embedding_size", 768) != width:
            got = fields.get_size("embedding_size", 768)
            raise ConfigError(f"embedding_size: expected hidden_size ({width}), got {got}")
        return cls(
            vocab_size=fields.size("vocab_size"),
            width=width,
            layers=fields.layers("num_hidden_layers"),
            heads=fields.size("num_attention_heads"),
            inner=inner,
            activation=known_activation(fields.get("hidden_act", "gelu"), field="hidden_act"),
            eps=fields.get("layer_norm_eps", 1e-12),
            max_positions=fields.get_size("max_position_embeddings", 512),
            token_types=fields.get_size("type_vocab_size", 2),
            attention_groups=(
                fields.groups("q_groups", 4, width),
                fields.groups("k_groups", 4, width),
                fields.groups("v_groups", 4, width),
                fields.groups("post_attention_groups", 1, width),
            ),
            feed_forward_groups=(
                fields.groups("intermediate_groups", 4, width, inner),
                fields.groups("output_groups", 4, inner, width),
            ),
        )

    @property
    def embedding_size(self) -> int:
        return self.width

    def head_design(self) -> HeadDesign:
        """Return the head design, which is BERT's."""
        words = WordHead(self.activation, width=self.width, tied_width=self.width, eps=self.eps)
        return HeadDesign(pooler=Summary(), classifier=Summary(), choice=Summary(), words=words)

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of all layers for one token of a sequence of this length."""
        width, inner = self.width, self.inner
        attention = linear_flops(*((width, width // groups) for groups in self.attention_groups))
        first, second = self.feed_forward_groups
        feed_forward = linear_flops((width, inner // first), (inner, width // second))
        return self.layers * (attention + feed_forward + attention_flops(width=width, length=length))


class SqueezeBertEncoder(nn.Module):
    """Embeddings and a stack of post-norm layers with grouped linear maps."""

    def __init__(self, config: SqueezeBertConfig) -> None:
        super().__init__()
        width = config.width
        self.embeddings = TokenEmbeddings(
            vocab_size=config.vocab_size,
            width=width,
            positions=config.max_positions,
            token_types=config.token_types,
            eps=config.eps,
        )
        self.layers = Stack(
            PostNormLayer(
                attention=SelfAttention(
                    width, config.heads, groups=config.attention_groups, keep_scores=True
                ),
                feed_forward=FeedForward(
                    width, config.inner, config.activation, groups=config.feed_forward_groups
                ),
                width=width,
                eps=LAYER_EPS,
            )
            for _ in range(config.layers)
        )

    def forward(self, packed: PackedTokens, request: EncoderRequest) -> EncoderOutput:
        return self.layers.forward(self.embeddings(packed, request.inputs_embeds), packed, request)


RENAMES = (
    *EMBEDDINGS,
    (".attention.projections.", ".attention."),
    (".attention.output.", ".post_attention.conv1d."),
    (".attention_norm.", ".post_attention.layernorm."),
    (".feed_forward.inner.linear.", ".intermediate.conv1d."),
    (".feed_forward.outer.", ".output.conv1d."),
    (".feed_forward_norm.", ".output.layernorm."),
    *POOLER,
    *PREDICTIONS,
    *LABELS,
)
CONVOLUTIONS = (
    ".query.weight",
    ".key.weight",
    ".value.weight",
    ".attention.output.weight",
    ".feed_forward.inner.linear.weight",
    ".feed_forward.outer.weight",
)

SPEC = Architecture(
    model_type="squeezebert",
    class_prefix="SqueezeBert",
    config=SqueezeBertConfig.from_hf,
    encoder=SqueezeBertEncoder,
    heads=SqueezeBertConfig.head_design,
    prefix="transformer.",
    renames=RENAMES,
    tensor_layouts=tuple((ending, CONVOLUTION) for ending in CONVOLUTIONS),
    head_tensors=("pooler.", "cls.", "classifier.", "qa_outputs."),
    output_bias="cls.predictions.bias",
    lacks=("next-sentence-prediction", "pretraining"),
)
