"""Fill-mask: `predictions`, best first, against the words that the masks replaced."""

from typing import Any

import pyarrow as pa

from corpusmill.jobs.errors import EvaluateError
from corpusmill.jobs.evaluate.label_scores import is_text, is_text_list
from corpusmill.jobs.evaluate.request import Metrics, Request, Scoring


class MaskScores:
    """The shares of masks whose best prediction, and of which any prediction, is the word.

    White space around a token is ignored. A word without a mask, as in a text that was cut, counts as wrong.
    """

    def __init__(self, labels: str) -> None:
        self._labels = labels
        self._masks = self._best = self._any = self._longest = 0

    def add(self, rows: pa.Table) -> None:
        """Compare each row's masks with its words, in order."""
        for masks, label in zip(rows["prediction"].to_pylist(), rows["label"].to_pylist(), strict=True):
            gold = [label] if isinstance(label, str) else label
            if len(gold) < len(masks):
                raise EvaluateError(
                    f"expected a word for each mask in {self._labels!r}, got {len(gold)} for a row with "
                    f"{len(masks)} masks"
                ).at("--labels")
            self._compare(gold, masks)

    def metrics(self) -> Metrics:
        """Return the shares; the second is named after the longest list of predictions."""
        if not self._masks:
            raise EvaluateError(f"expected words for masks in {self._labels!r}, got none in any row").at(
                "--labels"
            )
        shares = {"accuracy@1": self._best / self._masks}
        if self._longest > 1:
            shares[f"accuracy@{self._longest}"] = self._any / self._masks
        return {"masks": self._masks, **shares}

    def _compare(self, gold: list[str], masks: list[list[dict[str, Any]]]) -> None:
        self._masks += len(gold)
        for word, mask in zip(gold, masks, strict=False):  # masks may be fewer
            tokens = [prediction["token"].strip() for prediction in mask]
            self._longest = max(self._longest, len(tokens))
            self._best += (word or "").strip() in tokens[:1]
            self._any += (word or "").strip() in tokens


def fill_mask(request: Request) -> Scoring:
    """Return the scoring of `predictions` against a list of words, or one word."""
    if not is_text(request.label_type) and not is_text_list(request.label_type):
        raise request.refuse_labels("a list with one string per mask, or a string")
    return Scoring(request.column("predictions"), MaskScores(request.labels))
