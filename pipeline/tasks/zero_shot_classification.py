"""`labels: list<struct<label, score>>`: the job's own labels, judged by an entailment model.

Each label becomes a hypothesis about the text, and its score is the probability that the text entails it; the
best label comes first. As in the pipeline of transformers, scores are a softmax over the entailment of all
labels, or with `multi_label` (or a single label) each label's entailment against its contradiction.
The logits of a long text's windows are combined as `combine` says.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.sequences import Layout, Pairs, Sequences
from corpusmill.pipeline.encode.windows import combine
from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.ragged import Ragged
from corpusmill.pipeline.tasks.columns import RANKED, ranked_labels
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values


class ZeroShotClassificationTask:
    """Options: `candidate_labels`, `hypothesis_template` ("This example is {}."), `multi_label` (false)."""

    head: ClassVar[str] = "text-classification"
    options: ClassVar[tuple[str, ...]] = (
        "candidate_labels",
        "hypothesis_template",
        "multi_label",
        "combine",
        "top_k",
        "threshold",
    )
    schema = pa.schema([("labels", RANKED)])

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        self._labels = _labels(options.get("candidate_labels") or ())
        self._hypotheses = _hypotheses(
            options.get("hypothesis_template") or "This example is {}.", self._labels
        )
        self._entailment, self._contradiction = _entailment_ids(checkpoint.labels, checkpoint.raw_config)
        self._independent = bool(options.get("multi_label")) or len(self._labels) == 1
        self._top_k: int | None = options.get("top_k")
        self._threshold: float = options.get("threshold") or 0.0
        self._combine = options.get("combine") or "mean"
        self.needs = Needs(own_second=True, passes=len(self._labels))

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each text with each hypothesis; the hypothesis stays whole."""
        hypotheses = layout.tokenize(self._hypotheses)
        item = np.repeat(np.arange(len(items)), len(hypotheses))
        label = np.tile(np.arange(len(hypotheses)), len(items))
        pairs = Pairs(item, label, items.rows["text"][item], label)
        return layout.pairs_cut_text(items.text.ids, hypotheses, pairs)

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return (n, 2): the logits of contradiction and entailment; (n, 1) if only entailment counts."""
        used = [self._contradiction, self._entailment] if self._independent else [self._entailment]
        return Values((model(packed).logits.float()[:, used].cpu().numpy(),), logits=True)

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the labels."""
        logits = combine(results[0].values, unit.sequences, self._combine)
        logits = logits.reshape(-1, len(self._labels), logits.shape[-1])
        if self._independent:
            scores = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
        else:
            exponents = np.exp(logits[..., 0] - logits[..., 0].max(-1, keepdims=True))
            scores = exponents / exponents.sum(-1, keepdims=True)
        return [ranked_labels(scores, self._labels, top_k=self._top_k, threshold=self._threshold)]


def _labels(labels: Any) -> tuple[str, ...]:
    if not labels:
        raise OptionError(
            "is required by zero-shot-classification: give the labels to choose from, such as [sports, news]"
        ).at("candidate_labels")
    if len(set(labels)) < len(labels):
        raise OptionError(f"expected each label once, got {', '.join(labels)}").at("candidate_labels")
    return tuple(labels)


def _hypotheses(template: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    if template.count("{}") != 1:
        raise OptionError(f"expected one {{}} where the label goes, got {template!r}").at(
            "hypothesis_template"
        )
    return tuple(template.replace("{}", label) for label in labels)


def _entailment_ids(labels: tuple[str, ...], config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the ids of entailment, which `label2id` names first, as in transformers, and contradiction."""
    lowered = [label.lower() for label in labels]
    stated = config.get("label2id") if config.get("id2label") else None
    ids = [(str(name).lower(), index) for name, index in stated.items()] if isinstance(stated, dict) else []
    ids = [(name, index) for name, index in ids if index in range(len(labels))]
    named_first = [*ids, *zip(lowered, range(len(labels)), strict=True)]
    entailment = next((index for name, index in named_first if name.startswith("entail")), None)
    if entailment is None or len(labels) < 2:
        raise OptionError(
            "zero-shot-classification needs a checkpoint trained on entailment: expected labels of which one "
            f"begins with 'entail', got {', '.join(labels)}"
        ).at("task")
    named = next((i for i, label in enumerate(lowered) if label.startswith("contradict")), None)
    # Without a label of that name it is the label farthest from entailment, as in transformers.
    return entailment, named if named is not None else (len(labels) - 1 if entailment == 0 else 0)
