"""What transformers and sentence-transformers give for a folder, in one form with a job's columns.

Each text is alone in its batch, because padding changes the reference's results (docs/exactness.md).
An answer is a nested list of numbers and labels per row.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from support.drawn_folders import ENCODERS, DrawnFolder

transformers.utils.logging.set_verbosity_error()

CLASSES = {
    "text-classification": transformers.AutoModelForSequenceClassification,
    "zero-shot-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "question-answering": transformers.AutoModelForQuestionAnswering,
    "fill-mask": transformers.AutoModelForMaskedLM,
    "multiple-choice": transformers.AutoModelForMultipleChoice,
    "next-sentence-prediction": transformers.AutoModelForNextSentencePrediction,
    "token-embedding": transformers.AutoModel,
}
LONGEST_ANSWER = 15
TEMPLATE = "This example is {}."
TOP_K = 5
"""The default of the fill-mask pipeline."""


class AnyBest(dict[tuple[int, int], float]):
    """Spans with their scores: any of the best ones is right, because equal scores have no order."""


class Reference:
    """A folder in the reference library."""

    def __init__(self, drawn: DrawnFolder, folder: Path) -> None:
        self.drawn, self.options = drawn, drawn.options or {}
        if drawn.task == "reranking":
            self.scorer = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
            self.scorer.max_seq_length = drawn.max_length or self.scorer.max_seq_length
            return
        if drawn.task in ENCODERS:
            kind = SentenceTransformer if drawn.task == "embedding" else SparseEncoder
            self.encoder = kind(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
            self.encoder.max_seq_length = drawn.max_length or self.encoder.max_seq_length
            return
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = CLASSES[drawn.task].from_pretrained(folder, dtype=torch.float32)
        self.model = model.eval()
        stated = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)
        self.max_length = drawn.max_length or stated
        self.tokenizer.model_max_length = self.max_length

    @torch.no_grad()
    def answers(self) -> list[Any]:
        """Return the answer to each row."""
        one: Callable[..., Any] = getattr(self, "_" + self.drawn.task.replace("-", "_"))
        rows = zip(
            *(texts for texts in (self.drawn.texts, self.drawn.pairs) if texts is not None), strict=True
        )
        return [one(*row) for row in rows]

    def _logits(self, text: str, pair: str | None = None, strategy: Any = True) -> Any:
        batch = self.tokenizer(
            text, pair, truncation=strategy, max_length=self.max_length, return_tensors="pt"
        )
        return self.model(**batch), batch

    def _pipeline(self, kind: type, **options: Any) -> Any:
        return kind(model=self.model, tokenizer=self.tokenizer, device=torch.device("cpu"), **options)

    def _text_classification(self, text: str, pair: str | None = None) -> Any:
        pipeline = self._pipeline(transformers.TextClassificationPipeline)
        texts = {"text": text} if pair is None else {"text": text, "text_pair": pair}
        found = pipeline([texts], top_k=None, truncation=True, max_length=self.max_length)[0]
        scores = {x["label"]: x["score"] for x in found}
        if self.model.config.problem_type != "regression":
            return scores
        return [scores[name] for _, name in sorted(self.model.config.id2label.items())]

    def _zero_shot_classification(self, text: str) -> Any:
        """As the pipeline, but without padding for the longest of the hypotheses."""
        template, labels = self.options.get("hypothesis_template", TEMPLATE), self.options["candidate_labels"]
        logits = torch.cat(
            [self._logits(text, template.format(label), "only_first")[0].logits for label in labels]
        )
        names = self.model.config.label2id
        entailed, contradicted = logits[:, names["entailment"]], logits[:, names["contradiction"]]
        each = self.options.get("multi_label") or len(labels) == 1
        scores = (entailed - contradicted).sigmoid() if each else entailed.softmax(0)
        return dict(zip(labels, scores.tolist(), strict=True))

    def _token_classification(self, text: str) -> Any:
        if not text.strip():
            return []
        aggregation = self.options.get("aggregation", "simple")
        pipeline = self._pipeline(transformers.TokenClassificationPipeline, aggregation_strategy=aggregation)
        return [
            [x["start"], x["end"], x.get("entity_group", x.get("entity")), float(x["score"])]
            for x in pipeline(text)
        ]

    def _fill_mask(self, text: str) -> Any:
        output, batch = self._logits(text)
        masks = (batch["input_ids"][0] == self.tokenizer.mask_token_id).nonzero()[:, 0]
        best = output.logits[0, masks].softmax(-1).topk(self.options.get("top_k", TOP_K))
        return best.values.tolist()

    def _question_answering(self, text: str, question: str) -> Any:
        """All spans of whole words, by the rules of the pipeline of transformers 4.52."""
        output, batch = self._logits(question, text, "only_second")
        encoding = batch.encodings[0]
        inside = np.array([index == 1 for index in encoding.sequence_ids])
        considered = torch.from_numpy(inside | (np.arange(len(inside)) == 0))  # [CLS] has a share
        start, end = (
            x[0].masked_fill(~considered, -torch.inf).softmax(0).numpy() * inside
            for x in (output.start_logits, output.end_logits)
        )
        found: dict[tuple[int, int], float] = {}
        for first in np.flatnonzero(inside):
            for last in range(first, min(first + LONGEST_ANSWER, len(inside))):
                if inside[last]:
                    words = [encoding.word_to_chars(encoding.word_ids[i], 1) for i in (first, last)]
                    span = (words[0][0], words[1][1])
                    found[span] = max(found.get(span, 0.0), float(start[first] * end[last]))
        return AnyBest(found)

    def _token_embedding(self, text: str) -> Any:
        output, batch = self._logits(text)
        encoding = batch.encodings[0]
        own = range(1, len(encoding.ids) - 1)
        return [output.last_hidden_state[0, own].tolist(), [list(encoding.offsets[i]) for i in own]]

    def _multiple_choice(self, text: str, pair: str) -> Any:
        scores = []
        for choice in choices(pair):
            batch = self.tokenizer(
                text, choice, truncation="longest_first", max_length=self.max_length, return_tensors="pt"
            )
            scores.append(self.model(**{name: x[None] for name, x in batch.items()}).logits[0])
        return torch.cat(scores).softmax(0).tolist()

    def _next_sentence_prediction(self, text: str, pair: str) -> Any:
        output, _ = self._logits(text, pair, "longest_first")
        return output.logits.softmax(-1)[0, 0].item()

    def _reranking(self, text: str, pair: str) -> Any:
        return float(self.scorer.predict([(text, pair)])[0])

    def _embedding(self, text: str) -> Any:
        return self.encoder.encode([text])[0].tolist()

    def _sparse_embedding(self, text: str) -> Any:
        (vector_V,) = self.encoder.encode([text], convert_to_sparse_tensor=False)
        return {int(i): float(vector_V[i]) for i in vector_V.nonzero()[:, 0]}


def choices(pair: str) -> list[str]:
    """Return what a row of multiple choice has to choose from."""
    return [pair, "good"]


def of_row(task: str, row: dict[str, Any]) -> Any:
    """Return a row's columns in the form of the reference's answers."""
    return OF_ROW[task](row)


def _labels(row: dict[str, Any]) -> Any:
    if "labels" in row:
        return {x["label"]: x["score"] for x in row["labels"]}
    return row.get("values") or [row["value"]]


OF_ROW: dict[str, Callable[[dict[str, Any]], Any]] = {
    "text-classification": _labels,
    "zero-shot-classification": _labels,
    "token-classification": lambda row: [
        [x["start"], x["end"], x["label"], x["score"]] for x in row["spans"]
    ],
    "question-answering": lambda row: (
        row["answer"] and [row["answer"][name] for name in ("start", "end", "score")]
    ),
    "fill-mask": lambda row: [[x["score"] for x in mask] for mask in row["predictions"]],
    "multiple-choice": lambda row: row["scores"],
    "next-sentence-prediction": lambda row: row["score"],
    "reranking": lambda row: row["score"],
    "token-embedding": lambda row: [
        row["token_embeddings"],
        [[x["start"], x["end"]] for x in row["token_offsets"]],
    ],
    "embedding": lambda row: row["embedding"],
    "sparse-embedding": lambda row: {x["token_id"]: x["weight"] for x in row["sparse"]},
}
