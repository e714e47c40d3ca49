"""`predictions: list<list<struct<token, token_id, score>>>`: the likeliest words for each mask of a text.

One inner list per mask, in the order of the text, best first; a text without a mask has an empty list. Scores
are probabilities over the whole vocabulary, as the reference's fill-mask pipeline computes them.
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
from corpusmill.pipeline.ragged import Ragged
from corpusmill.pipeline.tasks.columns import list_array
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values
from corpusmill.pipeline.tokenize.added_tokens import added_tokens
from corpusmill.pipeline.tokenize.settings import read_settings
from corpusmill.pipeline.tokenize.tokenizer import load_tokenizer

PREDICTION = pa.struct([("token", pa.string()), ("token_id", pa.int32()), ("score", pa.float32())])


class FillMaskTask:
    """Option: `top_k` words per mask (5)."""

    head: ClassVar[str] = "fill-mask"
    options: ClassVar[tuple[str, ...]] = ("top_k",)
    needs = Needs()
    schema = pa.schema([("predictions", pa.list_(pa.list_(PREDICTION)))])

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._top_k = min(options.get("top_k") or 5, checkpoint.vocab_size)
        folder, sentence = str(checkpoint.folder), checkpoint.sentence_modules is not None
        names = added_tokens(read_settings(folder, sentence=sentence)).names
        mask = names["mask_token"].content if "mask_token" in names else "that is not null"
        tokenizer = load_tokenizer(folder, sentence=sentence)
        found = tokenizer.token_to_id(mask)
        if found is None:
            raise OptionError(
                f"{folder}: expected a tokenizer with the mask token {mask}, which fill-mask needs"
            ).at("task")
        if tokenizer.encode(mask, add_special_tokens=False).ids != [found]:
            raise OptionError(
                f"{folder}: expected a tokenizer with {mask} as one token, but it cuts {mask} like any word, "
                "so no text would have a mask; check split_special_tokens and mask_token in "
                "tokenizer_config.json"
            ).at("task")
        self._mask: int = found

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text."""
        return layout.singles(items.text.ids, items.rows["text"])

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return scores and ids (m, top_k) of the batch's masks."""
        masked = packed.input_ids == self._mask
        where = masked.nonzero()[:, 0]
        counts = np.array([int(part.sum()) for part in packed.split(masked)], np.int64)
        if len(where) == 0:
            shape = (0, self._top_k)
            return Values((np.zeros(shape, np.float32), np.zeros(shape, np.int64)), counts)
        logits = model(packed, scored_tokens=where).logits.float()
        scores, ids = logits.softmax(-1).topk(self._top_k, dim=-1)
        return Values((scores.cpu().numpy(), ids.cpu().numpy()), counts)

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the predictions; a mask in two windows is taken from the window with more context."""
        masked = unit.sequences.tokens.values == self._mask
        places, _, tokens = owned_tokens(unit.sequences)
        chosen = (np.cumsum(masked) - 1)[places[masked[places]]]
        scores, ids = (result.values[chosen] for result in results)
        masks = np.add.reduceat(np.append(masked[places], 0), np.cumsum(tokens) - tokens) * (tokens > 0)
        each = list_array(
            pa.StructArray.from_arrays(
                [
                    self._words(ids.ravel(), unit.layout),
                    pa.array(ids.ravel().astype(np.int32)),
                    pa.array(scores.ravel()),
                ],
                fields=list(PREDICTION),
            ),
            np.full(len(chosen), self._top_k),
            pa.list_(PREDICTION),
        )
        return [list_array(each, masks, self.schema.field(0).type)]

    def _words(self, ids: np.ndarray[Any, Any], layout: Layout) -> pa.Array:
        distinct, index = np.unique(ids, return_inverse=True)
        words = pa.array([layout.tokenizer.id_to_token(int(i)) for i in distinct], pa.string())
        return words.take(pa.array(index.ravel()))
