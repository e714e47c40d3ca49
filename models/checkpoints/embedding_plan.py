"""The plan of a sequence's vector: the checkpoint's own, changed by the caller's options."""

from dataclasses import dataclass

from corpusmill.models.checkpoints.sentence_modules import Dense, Normalize, SentenceModules
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
    """The state after `layer` layers, `pooling` modes of it side by side, then the steps in order."""

    layer: int
    pooling: tuple[str, ...]
    steps: tuple[Dense | Normalize | Truncate, ...]
    dimension: int

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
    _check_pooling(options.pooling, own, width=width, pooler=pooler)
    if options.pooling is not None and not _projections(own):
        whole = width
    steps = _normalized(own.steps, options.normalize)
    cut = _cut(options.dimensions, whole)
    again = (Normalize(),) if cut and _ends_at_unit_length(steps) else ()
    return EmbeddingPlan(
        layer=_layer(options.layer, layers),
        pooling=own.pooling if options.pooling is None else (options.pooling,),
        steps=(*steps, *cut, *again),
        dimension=cut[0].dimensions if cut else whole,
    )


def _projections(own: SentenceModules) -> list[Dense]:
    return [step for step in own.steps if isinstance(step, Dense)]


def _check_pooling(pooling: str | None, own: SentenceModules, *, width: int, pooler: bool) -> None:
    if pooling is None:
        return
    known = ", ".join((*TOKEN_POOLINGS, *((POOLER,) if pooler else ())))
    if pooling == POOLER and not pooler:
        raise OptionError(f"pooling: this architecture has no pooler; use one of {known}")
    if pooling not in (*TOKEN_POOLINGS, POOLER):
        raise OptionError(f"pooling: expected one of {known}; got {pooling!r}")
    for first in _projections(own)[:1]:
        if first.in_features != width:
            raise OptionError(
                f"pooling: expected one that gives {first.in_features} values, which the checkpoint's "
                f"projection {first.folder} reads; {pooling} gives {width}. Leave pooling out to keep the "
                f"checkpoint's own ({' and '.join(own.pooling)})"
            )


def _normalized(
    steps: tuple[Dense | Normalize, ...], normalize: bool | None
) -> tuple[Dense | Normalize, ...]:
    if normalize is False:
        return tuple(step for step in steps if not isinstance(step, Normalize))
    return (*steps, Normalize()) if normalize and not _ends_at_unit_length(steps) else steps


def _ends_at_unit_length(steps: tuple[Dense | Normalize | Truncate, ...]) -> bool:
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
