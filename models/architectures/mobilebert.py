"""MobileBERT (Sun et al., 2020, https://arxiv.org/abs/2004.02984), after transformers' modeling_mobilebert.

Narrow word vectors widened from [next, this, previous] token; layers that work in a bottleneck, with several
feed-forward parts; norms that only scale and shift. The trigram of a sequence's ends reads zeros, as the
reference does without padding (with padding it reads the [PAD] vector, and its results change).
Shape suffixes: T tokens, D width, B bottleneck width, E word-vector width.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from corpusmill.models.checkpoints.config_fields import MOST_LAYERS, Fields
from corpusmill.models.checkpoints.renames import EMBEDDINGS, LABELS, POOLER, PREDICTIONS
from corpusmill.models.checkpoints.spec import Architecture, HeadDesign, Summary, WordHead
from corpusmill.models.checkpoints.tensor_layouts import TRANSPOSED
from corpusmill.models.errors import ConfigError
from corpusmill.models.flops import attention_flops, linear_flops
from corpusmill.models.layers.activations import known_activation
from corpusmill.models.layers.blocks import AttentionOptions, FeedForward, Stack, attend_heads, types_of
from corpusmill.models.layers.norm_folding import fold_alone, fold_chain
from corpusmill.models.layers.norms import NormedLinear, make_norm
from corpusmill.models.ops.windows import neighbours
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest

# Two norms of the reference are made without the config's eps, and get torch's default.
TORCH_EPS = 1e-5


@dataclass(frozen=True)
class MobileBertConfig:
    """The fields of config.json that change what is computed.

    `narrow` is the width that layers work in: the bottleneck's, or the model's without one. `shared` says
    that query and key read a bottleneck of their own, `all_narrow` that the value reads a bottleneck too.
    """

    vocab_size: int
    width: int
    embedding_size: int
    narrow: int
    layers: int
    heads: int
    inner: int
    feed_forwards: int
    activation: str
    norm: str
    eps: float
    max_positions: int
    token_types: int
    trigram: bool
    bottleneck: bool
    all_narrow: bool
    shared: bool
    pooler_map: bool

    @classmethod
    def from_hf(cls, raw: dict[str, Any]) -> Self:
        """Read transformers' names, with its defaults for the optional ones."""
        fields = Fields(raw)
        bottleneck = fields.get("use_bottleneck", True)
        narrow_field = "intra_bottleneck_size" if bottleneck else "hidden_size"
        config = cls(
            vocab_size=fields.size("vocab_size"),
            width=fields.size("hidden_size"),
            embedding_size=fields.get_size("embedding_size", 128),
            narrow=fields.get_size(narrow_field, 128) if bottleneck else fields.size("hidden_size"),
            layers=fields.layers("num_hidden_layers"),
            heads=fields.size("num_attention_heads"),
            inner=fields.size("intermediate_size"),
            feed_forwards=fields.get_size("num_feedforward_networks", 4, at_most=MOST_LAYERS),
            activation=known_activation(fields.get("hidden_act", "relu"), field="hidden_act"),
            norm=fields.get("normalization_type", "no_norm"),
            eps=fields.get("layer_norm_eps", 1e-12),
            max_positions=fields.get_size("max_position_embeddings", 512),
            token_types=fields.get_size("type_vocab_size", 2),
            trigram=fields.get("trigram_input", True),
            bottleneck=bottleneck,
            all_narrow=fields.get("use_bottleneck_attention", False),
            shared=fields.get("key_query_shared_bottleneck", True),
            pooler_map=fields.get("classifier_activation", True),
        )
        config.check(narrow_field)
        if fields.get_size("true_hidden_size", config.narrow) != config.narrow:
            wanted = f"expected {narrow_field} ({config.narrow}), or no such key"
            raise ConfigError(f"true_hidden_size: {wanted}, got {raw['true_hidden_size']}")
        return config

    def check(self, narrow_field: str) -> None:
        """Refuse sizes that do not fit together."""
        if self.narrow % self.heads:
            wanted = f"expected a multiple of num_attention_heads ({self.heads})"
            raise ConfigError(f"{narrow_field}: {wanted}, got {self.narrow}")
        if self.embedding_size > self.width:
            wanted = f"expected at most hidden_size ({self.width})"
            raise ConfigError(f"embedding_size: {wanted}, got {self.embedding_size}")
        if self.bottleneck and not self.all_narrow and not self.shared and self.narrow != self.width:
            raise ConfigError(
                "key_query_shared_bottleneck: expected True, or intra_bottleneck_size as large as "
                f"hidden_size ({self.width}), which query and key then read; got False"
            )

    @property
    def words_read(self) -> int:
        """Inputs of the map that widens word vectors; 0 if there is none."""
        narrower = self.embedding_size != self.width
        return 3 * self.embedding_size if self.trigram else narrower * self.embedding_size

    def head_design(self) -> HeadDesign:
        """Return the head design: pooled heads read the first token.

        They read it through a tanh map only where `classifier_activation` is set.
        """
        pooler = Summary() if self.pooler_map else Summary(linear=False, activation="linear")
        words = WordHead(self.activation, width=self.width, tied_width=self.embedding_size, eps=self.eps)
        return HeadDesign(pooler=pooler, classifier=pooler, choice=pooler, words=words)

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of the encoder for one token of a sequence of this length."""
        width, narrow = self.width, self.narrow
        value = narrow if self.all_narrow or not self.bottleneck else width
        attention = linear_flops((narrow, 2 * narrow), (value, narrow), (narrow, narrow))
        feed_forward = self.feed_forwards * linear_flops((narrow, self.inner), (self.inner, narrow))
        maps = 2 + (self.shared and not self.all_narrow) if self.bottleneck else 0
        linear = attention + feed_forward + maps * linear_flops((width, narrow))
        layer = linear + attention_flops(width=narrow, length=length)
        return self.layers * layer + linear_flops((self.words_read, width))


def feed_forward(config: MobileBertConfig, *, eps: float) -> FeedForward:
    """Return a feed-forward part with a norm over its sum."""
    outer = NormedLinear(config.inner, config.narrow, make_norm(config.norm, config.narrow, eps))
    return FeedForward(config.narrow, config.inner, config.activation, outer=outer)


class MobileAttention(nn.Module):
    """Attention whose query, key and value may read different widths."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        narrow = config.narrow
        self.heads = config.heads
        self.query = nn.Linear(narrow, narrow)
        self.key = nn.Linear(narrow, narrow)
        self.value = nn.Linear(narrow if config.all_narrow else config.width, narrow)
        self.output = NormedLinear(narrow, narrow, make_norm(config.norm, narrow, config.eps))

    def forward(
        self,
        query_key_TD: Tensor,
        value_TD: Tensor,
        residual_TB: Tensor,
        packed: PackedTokens,
        options: AttentionOptions | None,
    ) -> Tensor:
        q_TB, k_TB, v_TB = self.query(query_key_TD), self.key(query_key_TD), self.value(value_TD)
        y_TB = attend_heads(q_TB, k_TB, v_TB, packed, heads=self.heads, options=options)
        return self.output(y_TB, residual_TB)  # type: ignore[no-any-return]


class MobileLayer(nn.Module):
    """A map into the bottleneck, attention and feed-forward parts there, and a map out of it."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        width, narrow, kind, eps = config.width, config.narrow, config.norm, config.eps
        shared = config.bottleneck and config.shared and not config.all_narrow
        self.all_narrow = config.all_narrow
        self.entry = NormedLinear(width, narrow, make_norm(kind, narrow, eps)) if config.bottleneck else None
        self.shared_entry = NormedLinear(width, narrow, make_norm(kind, narrow, eps)) if shared else None
        self.attention = MobileAttention(config)
        self.ffn = nn.ModuleList(feed_forward(config, eps=eps) for _ in range(config.feed_forwards - 1))
        self.last = feed_forward(config, eps=TORCH_EPS)
        self.leave = NormedLinear(narrow, width, make_norm(kind, width, eps)) if config.bottleneck else None

    def forward(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None = None) -> Tensor:
        x_TB = x_TD if self.entry is None else self.entry(x_TD)
        value_TD = x_TB if self.all_narrow else x_TD
        query_key_TD = value_TD if self.shared_entry is None else self.shared_entry(x_TD)
        x_TB = self.attention(query_key_TD, value_TD, x_TB, packed, options)
        for part in (*self.ffn, self.last):
            x_TB = part(x_TB)
        return x_TB if self.leave is None else self.leave(x_TB, x_TD)  # type: ignore[no-any-return]

    def fold_norms(self) -> None:
        """Fold norms that only scale and shift into the linear maps beside them."""
        for entry in filter(None, (self.entry, self.shared_entry)):
            fold_alone(entry)
        if self.leave is not None:
            fold_chain(self.attention.output, (*self.ffn, self.last), self.leave)


class MobileEmbeddings(nn.Module):
    """Trigrams of word vectors, widened, with positions and token types added."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.trigram = config.trigram
        self.words = nn.Embedding(config.vocab_size, config.embedding_size)
        self.positions = nn.Embedding(config.max_positions, config.width)
        self.token_types = nn.Embedding(config.token_types, config.width)
        self.widen = nn.Linear(config.words_read, config.width) if config.words_read else None
        self.norm = make_norm(config.norm, config.width, TORCH_EPS)

    def forward(self, packed: PackedTokens, inputs_embeds: Tensor | None = None) -> Tensor:
        x_TE = self.words(packed.input_ids) if inputs_embeds is None else inputs_embeds
        if self.trigram:
            x_TE = torch.cat(neighbours(x_TE, packed, reach=1)[::-1], dim=-1)
        x_TD = x_TE if self.widen is None else self.widen(x_TE)
        x_TD = x_TD + self.positions(packed.position_ids) + self.token_types(types_of(packed))
        return self.norm(x_TD)  # type: ignore[no-any-return]


class MobileBertEncoder(nn.Module):
    """Embeddings and a stack of bottleneck layers."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.embeddings = MobileEmbeddings(config)
        self.layers = Stack(MobileLayer(config) for _ in range(config.layers))

    def forward(self, packed: PackedTokens, request: EncoderRequest) -> EncoderOutput:
        return self.layers.forward(self.embeddings(packed, request.inputs_embeds), packed, request)


RENAMES = (
    *EMBEDDINGS,
    ("encoder.embeddings.widen.", "embeddings.embedding_transformation."),
    ("encoder.layers.", "encoder.layer."),
    *((f".attention.{name}.", f".attention.self.{name}.") for name in ("query", "key", "value")),
    (".entry.", ".bottleneck.input."),
    (".shared_entry.", ".bottleneck.attention."),
    (".leave.", ".output.bottleneck."),
    (".last.inner.", ".intermediate."),
    (".last.outer.", ".output."),
    (".inner.linear.", ".intermediate.dense."),
    (".outer.", ".output."),
    (".norm.", ".LayerNorm."),
    (".linear.", ".dense."),
)

SPEC = Architecture(
    model_type="mobilebert",
    class_prefix="MobileBert",
    config=MobileBertConfig.from_hf,
    encoder=MobileBertEncoder,
    heads=MobileBertConfig.head_design,
    prefix="mobilebert.",
    renames=(*POOLER, *PREDICTIONS, *LABELS, *RENAMES),
    tensor_layouts=(("head.words.rest.weight", TRANSPOSED),),
    head_tensors=("pooler.", "cls.", "classifier.", "qa_outputs."),
    idle_tensors=(".bottleneck.attention.", "embeddings.embedding_transformation."),
    output_bias="cls.predictions.bias",
    refused_dtypes={
        "float16": "its activations reach 1e7, and float16 ends at 65,504",
        "int8": "its activations reach 1e7, and 8 bits would round the small ones to 0",
    },
)
