"""The plan of a sequence's vector: the checkpoint's own, changed by the caller's options."""

from dataclasses import dataclass

from corpusmill.models.checkpoints.sentence_modules import (
    Dense,
    LayerNorm,
    Normalize,
    SentenceModules,
    VectorStep,
)
from corpusmill.models.checkpoints.sentence_pooling import POOLING_FLAGS
from corpusmill.models.errors import OptionError

TOKEN_POOLINGS = tuple(POOLING_FLAGS.values())
POOLER = "pooler"
# The modules of a checkpoint without sentence-transformers files, and of a sparse encoder.
PLAIN = SentenceModules(transformer="", pooling=("mean",), steps=(), max_seq_length=None)


@dataclass(frozen=True)
class EmbeddingOptions:
    """The caller's changes to a checkpoint's own plan; None keeps the checkpoint's.

    `pooling` takes the place of the checkpoint's; "pooler" is the map over [CLS] that some were trained with.
    `normalize` True ends with unit length, False leaves every normalization out. `dimensions` keeps the first
    values (Matryoshka, https://arxiv.org/abs/2205.13147), at unit length again where the whole vector has it.
    `layer` is an index of transformers' `hidden_states`: 0 the embeddings' output, -1 the last layer's; the
    layers above are not run, and a pooler reads the state of that layer.
    """

    pooling: str | None = None
    normalize: bool | None = None
    dimensions: int | None = None
    layer: int | None = None


@dataclass(frozen=True)
class Truncate:
    """The first values of a vector, the others dropped."""

    dimensions: int


@dataclass(frozen=True)
class EmbeddingPlan:
    """The state after `layer` layers, `pooling` modes of it side by side, then the steps in order.

    `token_steps` change the state of each token before the pooling; `token_width` is its width then.
    `scores`: the last step gives the scores of a cross-encoder, not a vector. Without a pooling, the steps
    change the scores of the checkpoint's own head.
    """

    layer: int
    pooling: tuple[str, ...]
    steps: tuple[VectorStep | Truncate, ...]
    dimension: int
    token_steps: tuple[VectorStep, ...] = ()
    token_width: int = 0
    scores: bool = False

    @property
    def normalized(self) -> bool:
        return _ends_at_unit_length(self.steps)

    @property
    def needs_pooler(self) -> bool:
        return POOLER in self.pooling


def plan_embedding(
    options: EmbeddingOptions, own: SentenceModules, *, width: int, layers: int, pooler: bool
) -> EmbeddingPlan:
    """Replace the checkpoint's `own` modules by what the options say; `pooler`: the architecture has one.

    Raises OptionError for a value that this checkpoint cannot use.
    """
    whole = own.dimension(width)
    token_width = own.token_width(width)
    _check_pooling(options.pooling, own, width=token_width, pooler=pooler)
    if options.pooling is not None and not _sized(own):
        whole = token_width
    steps, dimension = _shortened(own, options, whole)
    return EmbeddingPlan(
        layer=_layer(options.layer, layers),
        pooling=own.pooling if options.pooling is None else (options.pooling,),
        steps=steps,
        dimension=dimension,
        token_steps=own.token_steps,
        token_width=token_width,
    )


def plan_scores(own: SentenceModules, *, width: int, layers: int, labels: int) -> EmbeddingPlan:
    """Return the plan of a cross-encoder's scores; `labels` is the number of its own head, if it has one."""
    return EmbeddingPlan(
        layer=layers,
        pooling=own.pooling,
        steps=own.steps,
        dimension=own.scores(width, labels),
        token_steps=own.token_steps,
        token_width=own.token_width(width),
        scores=True,
    )


def _shortened(
    own: SentenceModules, options: EmbeddingOptions, whole: int
) -> tuple[tuple[VectorStep | Truncate, ...], int]:
    """Return the steps, the last values of a vector dropped, and the number of values that remain.

    The checkpoint's own `truncate_dim` drops them from a vector of unit length, which is shorter then.
    """
    if options.dimensions is None and own.truncate_dim is not None and own.truncate_dim < whole:
        kept = _normalized(own.steps, False if options.normalize is False else None)
        last = (Normalize(),) if options.normalize else ()
        return (*kept, Truncate(own.truncate_dim), *last), own.truncate_dim
    steps = _normalized(own.steps, options.normalize)
    cut = _cut(options.dimensions, whole)
    again = (Normalize(),) if cut and _ends_at_unit_length(steps) else ()
    return (*steps, *cut, *again), cut[0].dimensions if cut else whole


def _sized(own: SentenceModules) -> list[Dense | LayerNorm]:
    """Return the steps that read vectors of one width only."""
    return [step for step in own.steps if isinstance(step, Dense | LayerNorm)]


def _check_pooling(pooling: str | None, own: SentenceModules, *, width: int, pooler: bool) -> None:
    if pooling is None:
        return
    known = ", ".join((*TOKEN_POOLINGS, *((POOLER,) if pooler else ())))
    if pooling == POOLER and not pooler:
        raise OptionError(f"pooling: this architecture has no pooler; use one of {known}")
    if pooling not in (*TOKEN_POOLINGS, POOLER):
        raise OptionError(f"pooling: expected one of {known}; got {pooling!r}")
    if pooling == POOLER and own.token_steps:
        raise OptionError(
            "pooling: the checkpoint's modules change the token vectors, which a pooler does not read; "
            f"use one of {', '.join(TOKEN_POOLINGS)}"
        )
    for first in _sized(own)[:1]:
        reads = first.in_features if isinstance(first, Dense) else first.dimension
        kind = "projection" if isinstance(first, Dense) else "norm"
        if reads != width:
            raise OptionError(
                f"pooling: expected one that gives {reads} values, which the checkpoint's "
                f"{kind} {first.folder} reads; {pooling} gives {width}. Leave pooling out to keep the "
                f"checkpoint's own ({' and '.join(own.pooling)})"
            )


def _normalized(steps: tuple[VectorStep, ...], normalize: bool | None) -> tuple[VectorStep, ...]:
    if normalize is False:
        return tuple(step for step in steps if not isinstance(step, Normalize))
    return (*steps, Normalize()) if normalize and not _ends_at_unit_length(steps) else steps


def _ends_at_unit_length(steps: tuple[VectorStep | Truncate, ...]) -> bool:
    return bool(steps) and isinstance(steps[-1], Normalize)


def _cut(dimensions: int | None, whole: int) -> tuple[Truncate, ...]:
    if dimensions is None or dimensions == whole:
        return ()
    if not 1 <= dimensions < whole:
        raise OptionError(f"dimensions: expected 1 to {whole}, the checkpoint's own; got {dimensions}")
    return (Truncate(dimensions),)


def _layer(layer: int | None, layers: int) -> int:
    """Return the number of layers to run."""
    if layer is None:
        return layers
    if not -layers - 1 <= layer <= layers:
        raise OptionError(
            f"layer: expected {-layers - 1} to {layers}, from the embeddings' output (0) to the last of "
            f"{layers} layers (-1); got {layer}"
        )
    return layer if layer >= 0 else layers + 1 + layer
