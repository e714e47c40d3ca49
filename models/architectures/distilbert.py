"""DistilBERT (Sanh et al., 2019, https://arxiv.org/abs/1910.01108), after transformers' modeling_distilbert.

BERT's layers under other names, with no token types and no pooler; every norm's eps is 1e-12 whatever the
config says. Sinusoidal positions are stored like learned ones, so the flag changes nothing. The sequence
classifier has its own ReLU layer over [CLS].
"""

from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from corpusmill.models.checkpoints.config_fields import Fields
from corpusmill.models.checkpoints.renames import EMBEDDINGS, LABELS
from corpusmill.models.checkpoints.spec import Architecture, HeadDesign, Summary, WordHead
from corpusmill.models.flops import attention_flops, linear_flops
from corpusmill.models.layers.activations import known_activation
from corpusmill.models.layers.blocks import FeedForward, PostNormLayer, SelfAttention, Stack, TokenEmbeddings
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest

EPS = 1e-12
# transformers reads these names too, and they take the place of its own.
OTHER_NAMES = {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"}


@dataclass(frozen=True)
class DistilBertConfig:
    """The fields of config.json that change what is computed."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    inner: int
    activation: str
    max_positions: int
    token_types: int = 0

    @classmethod
    def from_hf(cls, raw: dict[str, Any]) -> Self:
        """Read transformers' names, with its defaults for the optional ones."""
        others = {ours: raw[name] for name, ours in OTHER_NAMES.items() if raw.get(name) is not None}
        fields = Fields({**raw, **others})
        fields.divisible("dim", by="n_heads")
        return cls(
            vocab_size=fields.size("vocab_size"),
            width=fields.size("dim"),
            layers=fields.layers("n_layers"),
            heads=fields.size("n_heads"),
            inner=fields.size("hidden_dim"),
            activation=known_activation(fields.get("activation", "gelu"), field="activation"),
            max_positions=fields.get_size("max_position_embeddings", 512),
        )

    @property
    def embedding_size(self) -> int:
        return self.width

    def head_design(self) -> HeadDesign:
        """Return the head design: the classifier's own ReLU layer replaces a pooler."""
        summary = Summary(activation="relu")
        words = WordHead(self.activation, width=self.width, tied_width=self.width, eps=EPS)
        return HeadDesign(pooler=None, classifier=summary, choice=summary, words=words)

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of all layers for one token of a sequence of this length."""
        width, inner = self.width, self.inner
        linear = linear_flops((width, 4 * width), (width, inner), (inner, width))
        return self.layers * (linear + attention_flops(width=width, length=length))


class DistilBertEncoder(nn.Module):
    """Embeddings and a stack of post-norm layers."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.embeddings = TokenEmbeddings(
            vocab_size=config.vocab_size,
            width=config.width,
            positions=config.max_positions,
            token_types=0,
            eps=EPS,
        )
        self.layers = Stack(
            PostNormLayer(
                attention=SelfAttention(config.width, config.heads),
                feed_forward=FeedForward(config.width, config.inner, config.activation),
                width=config.width,
                eps=EPS,
            )
            for _ in range(config.layers)
        )

    def forward(self, packed: PackedTokens, request: EncoderRequest) -> EncoderOutput:
        return self.layers.forward(self.embeddings(packed, request.inputs_embeds), packed, request)


RENAMES = (
    *EMBEDDINGS,
    ("encoder.layers.", "transformer.layer."),
    (".attention.projections.query.", ".attention.q_lin."),
    (".attention.projections.key.", ".attention.k_lin."),
    (".attention.projections.value.", ".attention.v_lin."),
    (".attention.output.", ".attention.out_lin."),
    (".attention_norm.", ".sa_layer_norm."),
    (".feed_forward.inner.linear.", ".ffn.lin1."),
    (".feed_forward.outer.", ".ffn.lin2."),
    (".feed_forward_norm.", ".output_layer_norm."),
    ("head.pooler.map.linear.", "pre_classifier."),
    ("head.summary.map.linear.", "pre_classifier."),
    ("head.words.transform.linear.", "vocab_transform."),
    ("head.words.norm.", "vocab_layer_norm."),
    ("head.words.decoder.", "vocab_projector."),
    *LABELS,
)

SPEC = Architecture(
    model_type="distilbert",
    class_prefix="DistilBert",
    config=DistilBertConfig.from_hf,
    encoder=DistilBertEncoder,
    heads=DistilBertConfig.head_design,
    prefix="distilbert.",
    renames=RENAMES,
    head_tensors=(
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "pre_classifier.",
        "classifier.",
        "qa_outputs.",
    ),
    lacks=("next-sentence-prediction", "pretraining"),
)
