"""`score: float32`: the relevance of a passage (`text_pair`) to a query (`text`), by a cross-encoder.

Scores are raw logits, unless the checkpoint states an activation or the job names a function.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.prompts import prompt_of
from corpusmill.pipeline.encode.sequences import Layout, Sequences
from corpusmill.pipeline.encode.windows import combine
from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.ragged import Ragged
from corpusmill.pipeline.tasks.score_functions import SCORE_FUNCTIONS, reranking_function
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values
from corpusmill.pipeline.tasks.text_classification import text_or_pair


class RerankingTask:
    """Options: `function_to_apply` to the logits; `prompt` before each query; `combine` of windows.

    A passage's score is the highest of its windows (`combine: max`), known as MaxP (Dai and Callan 2019).
    """

    head: ClassVar[str] = "text-classification"
    options: ClassVar[tuple[str, ...]] = ("function_to_apply", "prompt", "combine")
    schema = pa.schema([("score", pa.float32())])

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        if len(checkpoint.labels) != 1:
            raise OptionError(
                f"reranking needs a checkpoint with one output, got {len(checkpoint.labels)} labels "
                f"({', '.join(checkpoint.labels[:5])}); use text-classification"
            ).at("task")
        self._function = SCORE_FUNCTIONS[reranking_function(checkpoint, options.get("function_to_apply"))]
        self._combine = options.get("combine") or "max"
        prompt = prompt_of(checkpoint, options.get("prompt"))
        self.needs = Needs(second="required", cuts_longest=True, prompt=prompt)

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each pair."""
        return text_or_pair(items, layout)

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (n, 1) float32."""
        return Values((self._function(model(packed).logits.float()).cpu().numpy(),))

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the scores."""
        return [pa.array(combine(results[0].values, unit.sequences, self._combine)[:, 0])]
