"""ConvBERT (Jiang et al., 2020, https://arxiv.org/abs/2008.02496), after transformers' modeling_convbert.

Half of each layer's heads are replaced by convolutions whose kernels every token makes from its own
neighbourhood; linear maps may be grouped. Convolutions read zeros beyond a sequence's ends, as the reference
does without padding (with padding they read the [PAD] tokens, and its results change).
Shape suffixes: T tokens, D width, A width of all attention heads, H heads, d head width, K kernel size.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from corpusmill.models.checkpoints.config_fields import Fields
from corpusmill.models.checkpoints.renames import EMBEDDINGS, LABELS
from corpusmill.models.checkpoints.spec import Architecture, HeadDesign, Summary, WordHead
from corpusmill.models.checkpoints.tensor_layouts import COLUMN, CONVOLUTION, DEPTHWISE
from corpusmill.models.errors import ConfigError
from corpusmill.models.flops import attention_flops, linear_flops
from corpusmill.models.layers.activations import known_activation
from corpusmill.models.layers.blocks import (
    AttentionOptions,
    FeedForward,
    Linear,
    PostNormLayer,
    Projections,
    Stack,
    TokenEmbeddings,
    attend_heads,
)
from corpusmill.models.ops.choose import depthwise_convolution, dynamic_convolution
from corpusmill.models.outputs import EncoderOutput
from corpusmill.models.packed import PackedTokens
from corpusmill.models.request import EncoderRequest

# transformers' `summary_type` of multiple choice; without token numbers, cls_index is the last token.
SUMMARY_TYPES = {"last": "lasttoken", "first": "cls", "mean": "mean", "cls_index": "lasttoken"}


@dataclass(frozen=True)
class ConvBertConfig:
    """The fields of config.json that change what is computed; `heads` are the attention heads that remain."""

    vocab_size: int
    width: int
    embedding_size: int
    layers: int
    heads: int
    inner: int
    groups: int
    kernel: int
    activation: str
    eps: float
    max_positions: int
    token_types: int
    choice: Summary

    @classmethod
    def from_hf(cls, raw: dict[str, Any]) -> Self:
        """Read transformers' names, with its defaults for the optional ones."""
        fields = Fields(raw)
        width, inner = fields.size("hidden_size"), fields.size("intermediate_size")
        ratio, all_heads = fields.get_size("head_ratio", 2), fields.size("num_attention_heads")
        heads = max(1, all_heads // ratio)
        if width % (2 * heads):
            wanted = f"expected a multiple of twice the {heads} heads that head_ratio ({ratio}) leaves"
            raise ConfigError(f"hidden_size: {wanted}, got {width}")
        kernel = fields.get_size("conv_kernel_size", 9)
        if kernel % 2 == 0:
            raise ConfigError(f"conv_kernel_size: expected an odd number, got {kernel}")
        return cls(
            vocab_size=fields.size("vocab_size"),
            width=width,
            embedding_size=fields.get_size("embedding_size", 768),
            layers=fields.layers("num_hidden_layers"),
            heads=heads,
            inner=inner,
            groups=fields.groups("num_groups", 1, width, inner),
            kernel=kernel,
            activation=known_activation(fields.get("hidden_act", "gelu"), field="hidden_act"),
            eps=fields.get("layer_norm_eps", 1e-12),
            max_positions=fields.get_size("max_position_embeddings", 512),
            token_types=fields.get_size("type_vocab_size", 2),
            choice=_choice(fields),
        )

    def head_design(self) -> HeadDesign:
        """Return the head design: no pooler, a map of the classifier's own, and gelu before word scores."""
        classifier = Summary(activation=self.activation)
        words = WordHead("gelu", width=self.embedding_size, tied_width=self.embedding_size, eps=self.eps)
        return HeadDesign(pooler=None, classifier=classifier, choice=self.choice, words=words)

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of the encoder for one token of a sequence of this length."""
        width, half = self.width, self.width // 2
        mixing = linear_flops((width, 5 * half), (half, self.heads * self.kernel), (width, width))
        convolving = 2 * self.kernel * (width + half)
        feed_forward = 2 * linear_flops((width, self.inner // self.groups))
        attention = attention_flops(width=half, length=length)
        widening = 0 if self.embedding_size == width else linear_flops((self.embedding_size, width))
        return self.layers * (mixing + convolving + feed_forward + attention) + widening


def _choice(fields: Fields) -> Summary:
    """Return how multiple choice summarises a sequence: its last token, unless the config names another."""
    mapped = fields.get("summary_use_proj", False)
    return Summary(
        pooling=SUMMARY_TYPES[fields.get("summary_type", "last")],
        linear=mapped,
        activation=known_activation(fields.get("summary_activation", "linear"), field="summary_activation"),
    )


class MixedAttention(nn.Module):
    """Attention heads beside span-based dynamic convolutions, added to their input."""

    def __init__(self, width: int, heads: int, kernel: int) -> None:
        super().__init__()
        half = width // 2
        self.heads = heads
        self.projections: nn.Module = Projections(width, half)
        self.depthwise = nn.Parameter(torch.empty(kernel, width))
        self.pointwise = nn.Linear(width, half)
        self.kernels = nn.Linear(half, heads * kernel)
        self.convolved = nn.Linear(width, half)
        self.output: nn.Module = Linear(width, width)

    def forward(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None = None) -> Tensor:
        return self.output(self.attended(x_TD, packed, options), x_TD)  # type: ignore[no-any-return]

    def attended(self, x_TD: Tensor, packed: PackedTokens, options: AttentionOptions | None) -> Tensor:
        """Return the results of heads and convolutions side by side, which the last map reads."""
        q_TA, k_TA, v_TA = self.projections(x_TD)
        attended_TA = attend_heads(q_TA, k_TA, v_TA, packed, heads=self.heads, options=options)
        spans_TA = self.pointwise(depthwise_convolution(x_TD, self.depthwise, packed))
        kernel_THK = self.kernels(spans_TA * q_TA).view(len(x_TD), self.heads, -1).softmax(-1)
        values_THd = self.convolved(x_TD).view(len(x_TD), self.heads, -1)
        convolved_TA = dynamic_convolution(values_THd, kernel_THK, packed).flatten(1)
        return torch.cat([attended_TA, convolved_TA], dim=-1)


class ConvBertEncoder(nn.Module):
    """Embeddings, widened where they are narrower, and a stack of post-norm layers."""

    def __init__(self, config: ConvBertConfig) -> None:
        super().__init__()
        width = config.width
        self.embeddings = TokenEmbeddings(
            vocab_size=config.vocab_size,
            width=config.embedding_size,
            positions=config.max_positions,
            token_types=config.token_types,
            eps=config.eps,
            project_to=None if config.embedding_size == width else width,
        )
        groups = (config.groups, config.groups)
        self.layers = Stack(
            PostNormLayer(
                attention=MixedAttention(width, config.heads, config.kernel),
                feed_forward=FeedForward(width, config.inner, config.activation, groups=groups),
                width=width,
                eps=config.eps,
            )
            for _ in range(config.layers)
        )

    def forward(self, packed: PackedTokens, request: EncoderRequest) -> EncoderOutput:
        return self.layers.forward(self.embeddings(packed, request.inputs_embeds), packed, request)


RENAMES = (
    *EMBEDDINGS,
    ("encoder.embeddings.projection.", "embeddings_project."),
    ("encoder.layers.", "encoder.layer."),
    (".attention.projections.", ".attention.self."),
    (".attention.depthwise", ".attention.self.key_conv_attn_layer.depthwise.weight"),
    (".attention.pointwise.weight", ".attention.self.key_conv_attn_layer.pointwise.weight"),
    (".attention.pointwise.bias", ".attention.self.key_conv_attn_layer.bias"),
    (".attention.kernels.", ".attention.self.conv_kernel_layer."),
    (".attention.convolved.", ".attention.self.conv_out_layer."),
    (".attention.output.", ".attention.output.dense."),
    (".attention_norm.", ".attention.output.LayerNorm."),
    (".feed_forward.inner.linear.", ".intermediate.dense."),
    (".feed_forward.outer.", ".output.dense."),
    (".feed_forward_norm.", ".output.LayerNorm."),
    ("head.pooler.map.linear.", "classifier.dense."),
    ("head.classifier.", "classifier.out_proj."),
    ("head.summary.map.linear.", "sequence_summary.summary."),
    ("head.words.transform.linear.", "generator_predictions.dense."),
    ("head.words.norm.", "generator_predictions.LayerNorm."),
    ("head.words.decoder.", "generator_lm_head."),
    *LABELS,
)

SPEC = Architecture(
    model_type="convbert",
    class_prefix="ConvBert",
    config=ConvBertConfig.from_hf,
    encoder=ConvBertEncoder,
    heads=ConvBertConfig.head_design,
    prefix="convbert.",
    renames=RENAMES,
    tensor_layouts=(
        (".attention.depthwise", DEPTHWISE),
        (".attention.pointwise.weight", CONVOLUTION),
        (".attention.pointwise.bias", COLUMN),
    ),
    head_tensors=("classifier.", "qa_outputs.", "generator_", "sequence_summary."),
    lacks=("next-sentence-prediction", "pretraining"),
)
