"""`token_embeddings: list<fixed_size_list<T>[D]>`, `token_offsets`: a vector per token of a text.

Special tokens have no vector. `token_offsets` has the places of the tokens in the text,
list<struct<start: int32, end: int32>> in code points. The vectors are the encoder's hidden states; in a long
text, each token's vector is taken from the window with most context.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.sequences import Layout, Sequences
from corpusmill.pipeline.encode.windows import owned_tokens
from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.ragged import Ragged, ranges
from corpusmill.pipeline.tasks.columns import list_array
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values

OFFSETS = pa.struct([("start", pa.int32()), ("end", pa.int32())])
TYPES = {"float32": pa.float32(), "float16": pa.float16()}


class TokenEmbeddingTask:
    """Options: `normalize` each vector (false), `output_dtype` (float32, float16), `layer` (-1)."""

    head: ClassVar[str] = "base"
    options: ClassVar[tuple[str, ...]] = ("normalize", "output_dtype", "layer")

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        name = options.get("output_dtype") or "float32"
        if name not in TYPES:
            raise OptionError(f"expected float32 or float16 for token-embedding, got {name}").at(
                "output_dtype"
            )
        own = checkpoint.sentence_modules
        if own is not None and own.token_steps:
            raise OptionError(
                f"{checkpoint.path}: its modules change token vectors, which this "
                "version does not support for token-embedding; use embedding"
            ).at("task")
        self._layer = -1 if options.get("layer") is None else options["layer"]
        layers = checkpoint.config.layers
        if not -layers - 1 <= self._layer <= layers:
            raise OptionError(f"expected {-layers - 1} to {layers}, got {self._layer}").at("layer")
        self._normalize = bool(options.get("normalize"))
        self._type = pa.list_(TYPES[name], checkpoint.width)
        self.needs = Needs(offsets=True, bytes_per_token=checkpoint.width * TYPES[name].bit_width // 8)
        self.schema = pa.schema(
            [("token_embeddings", pa.list_(self._type)), ("token_offsets", pa.list_(OFFSETS))]
        )

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text."""
        return layout.singles(items.text.ids, items.rows["text"])

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (T, D) hidden states."""
        states = model(packed, output_hidden_states=True).hidden_states[self._layer].float()
        if self._normalize:
            states = states / states.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        kind = np.float16 if self._type.value_type == pa.float16() else np.float32
        with np.errstate(over="ignore"):  # infinity, which is a reject
            vectors = states.cpu().numpy().astype(kind)
        return Values((vectors,), packed.lengths.numpy())

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the vectors and their places."""
        places, first, counts = owned_tokens(unit.sequences)
        text, rows = unit.items.text, unit.items.rows["text"][unit.present]
        where = ranges(text.ids.offsets[rows] + first, counts)
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(results[0].values[places].ravel()), type=self._type
        )
        offsets = pa.StructArray.from_arrays(
            [pa.array(text.places.starts[where]), pa.array(text.places.ends[where])], fields=list(OFFSETS)
        )
        return [
            list_array(vectors, counts, self.schema.field(0).type),
            list_array(offsets, counts, self.schema.field(1).type),
        ]
