"""The tensors that transformers' PyTorch classes save, by family, as patterns of whole names.

In a pattern `#` is a number, `*` is weight or bias, a dot is a dot, and the rest is a regular expression.
"""

import re
from dataclasses import dataclass
from functools import cached_property

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
# Numbers 0, 1, 2, ... and zeros that old versions saved beside the weights.
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")


@dataclass(frozen=True)
class Family:
    """The names of one family: below the prefix, which base models lack, and of all heads.

    `output` is the matrix that shares the word embeddings; `biases` are two names of one vector.
    """

    prefix: str
    encoder: tuple[str, ...]
    heads: tuple[str, ...]
    output: str = ""
    biases: tuple[str, str] | None = None

    def knows(self, name: str) -> bool:
        """Return whether some class of the family saves a tensor of this name."""
        return self._pattern.fullmatch(name) is not None

    def is_buffer(self, name: str) -> bool:
        """Return whether this is a saved buffer, not a weight."""
        return name.removeprefix(self.prefix) in BUFFERS

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        encoder = (f"({self.prefix})?({pattern})" for pattern in self.encoder)
        whole = "|".join((*encoder, *self.heads))
        return re.compile(whole.replace(".", r"\.").replace("#", r"\d+").replace("*", "(weight|bias)"))


EMBEDDINGS = ("embeddings.(word|position|token_type)_embeddings.weight", "embeddings.LayerNorm.*")
POOLER = "pooler.dense.*"
LAYER = (
    "encoder.layer.#.attention.self.(query|key|value).*",
    "encoder.layer.#.attention.output.(dense|LayerNorm).*",
    "encoder.layer.#.intermediate.dense.*",
    "encoder.layer.#.output.(dense|LayerNorm).*",
)
PREDICTIONS = (
    "cls.predictions.bias",
    "cls.predictions.decoder.*",
    "cls.predictions.transform.(dense|LayerNorm).*",
)
TASKS = ("classifier.*", "qa_outputs.*")
DECODER = "cls.predictions.decoder.weight"
DECODER_BIASES = ("cls.predictions.bias", "cls.predictions.decoder.bias")

FAMILIES: dict[str, Family] = {
    "bert": Family(
        prefix="bert.",
        encoder=(*EMBEDDINGS, *LAYER, POOLER),
        heads=(*PREDICTIONS, *TASKS, "cls.seq_relationship.*"),
        output=DECODER,
        biases=DECODER_BIASES,
    ),
    "distilbert": Family(
        prefix="distilbert.",
        encoder=(
            *EMBEDDINGS,
            "transformer.layer.#.attention.(q|k|v|out)_lin.*",
            "transformer.layer.#.ffn.lin(1|2).*",
            "transformer.layer.#.(sa|output)_layer_norm.*",
        ),
        heads=("vocab_(transform|layer_norm|projector).*", "pre_classifier.*", *TASKS),
        output="vocab_projector.weight",
    ),
    "mobilebert": Family(
        prefix="mobilebert.",
        encoder=(
            *EMBEDDINGS,
            "embeddings.embedding_transformation.*",
            *LAYER,
            "encoder.layer.#.bottleneck.(input|attention).(dense|LayerNorm).*",
            "encoder.layer.#.output.bottleneck.(dense|LayerNorm).*",
            "encoder.layer.#.ffn.#.intermediate.dense.*",
            "encoder.layer.#.ffn.#.output.(dense|LayerNorm).*",
            POOLER,
        ),
        heads=(*PREDICTIONS, "cls.predictions.dense.weight", "cls.seq_relationship.*", *TASKS),
        output=DECODER,
        biases=DECODER_BIASES,
    ),
    "squeezebert": Family(
        prefix="transformer.",
        encoder=(
            *EMBEDDINGS,
            "encoder.layers.#.attention.(query|key|value).*",
            "encoder.layers.#.(post_attention|output).(conv1d|layernorm).*",
            "encoder.layers.#.intermediate.conv1d.*",
            POOLER,
        ),
        heads=(*PREDICTIONS, "cls.seq_relationship.*", *TASKS),
        output=DECODER,
        biases=DECODER_BIASES,
    ),
    "convbert": Family(
        prefix="convbert.",
        encoder=(
            *EMBEDDINGS,
            "embeddings_project.*",
            *LAYER,
            "encoder.layer.#.attention.self.(conv_kernel_layer|conv_out_layer).*",
            "encoder.layer.#.attention.self.key_conv_attn_layer.(bias|(depthwise|pointwise).weight)",
        ),
        heads=(
            "generator_predictions.(dense|LayerNorm).*",
            "generator_lm_head.*",
            "classifier.(dense|out_proj).*",
            "sequence_summary.summary.*",
            *TASKS,
        ),
        output="generator_lm_head.weight",
    ),
}
# Modules of sentence-transformers with weights, each in a folder of its own.
MODULES: dict[str, Family] = {
    "Dense": Family(prefix="", encoder=(), heads=("linear.*", "residual.weight")),
    "LayerNorm": Family(prefix="", encoder=(), heads=("norm.*",)),
    "SparseStaticEmbedding": Family(prefix="", encoder=(), heads=("weight",)),
}
