"""`answer: struct<text, start, end, score>`: where a text answers a question; offsets in code points.

The question is each row's `text_pair`, or the job's own `questions`. With `top_k` above 1 a row has
`answers: list<struct>`, best first; with several questions `answers` has one entry per question, in their
order: a struct, or with `top_k` above 1 a list. A text without tokens has no answer (null, or no
candidates). With `handle_impossible_answer` "no answer" competes: an empty text at 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.pipeline.encode.items import Items
from corpusmill.pipeline.encode.sequences import Layout, Pairs, Sequences, row_pairs
from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.ragged import Ragged
from corpusmill.pipeline.tasks.answers import Answer, AnswerWindow, best_answers
from corpusmill.pipeline.tasks.task import Needs, Prepared, Values

ANSWER = pa.struct(
    [("text", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("score", pa.float32())]
)
MAX_ANSWER_LENGTH = 15
"""The default of transformers, in tokens."""


class QuestionAnsweringTask:
    """Options: `questions`, `top_k` (1), `max_answer_length` (15), `handle_impossible_answer` (false)."""

    head: ClassVar[str] = "question-answering"
    options: ClassVar[tuple[str, ...]] = (
        "questions",
        "top_k",
        "max_answer_length",
        "handle_impossible_answer",
    )

    def __init__(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        del checkpoint  # nothing depends on it
        self._questions: tuple[str, ...] = tuple(options.get("questions") or ())
        if any(not question.strip() for question in self._questions):
            raise OptionError("expected questions with text, got an empty one").at("questions")
        self._top_k: int = options.get("top_k") or 1
        self._max_answer_length: int = options.get("max_answer_length") or MAX_ANSWER_LENGTH
        self._impossible = bool(options.get("handle_impossible_answer"))
        asked = max(len(self._questions), 1)
        self.needs = Needs(
            second="none" if self._questions else "required",
            own_second=bool(self._questions),
            offsets=True,
            passes=asked,
        )
        self.schema = pa.schema([self._field(asked)])

    def sequences(self, items: Items, layout: Layout) -> Sequences:
        """Lay out each question before its text; only the text is cut or windowed."""
        if not self._questions:
            pairs = row_pairs(items.rows["text"], items.rows["text_pair"])
            questions = items.tables["text_pair"].ids
        else:
            questions = layout.tokenize(self._questions)
            item = np.repeat(np.arange(len(items)), len(questions))
            question = np.tile(np.arange(len(questions)), len(items))
            pairs = Pairs(item, question, items.rows["text"][item], question)
        return layout.pairs_cut_text(items.text.ids, questions, pairs, text_first=False)

    def values(self, model: Model, packed: PackedTokens) -> Values:
        """Return the start and end logits (T,)."""
        output = model(packed)
        logits = (x.float().cpu().numpy() for x in (output.start_logits, output.end_logits))
        return Values(tuple(logits), packed.lengths.numpy(), logits=True)

    def columns(self, results: tuple[Ragged, ...], unit: Prepared) -> list[pa.Array]:
        """Return the answers."""
        texts = unit.items.texts_of(unit.items.rows["text"][unit.present])
        asked = max(len(self._questions), 1)
        found = list(self._answers(results, unit))
        written = [
            [self._as_rows(answers, text) for answers in found[i * asked : (i + 1) * asked]]
            for i, text in enumerate(texts)
        ]
        rows = [row[0] for row in written] if asked == 1 else written
        return [pa.array(rows, self.schema.field(0).type)]

    def _field(self, asked: int) -> pa.Field:
        kind = pa.list_(ANSWER) if self._top_k > 1 else ANSWER
        if asked > 1:
            return pa.field("answers", pa.list_(kind))
        return pa.field("answers" if self._top_k > 1 else "answer", kind)

    def _answers(self, results: tuple[Ragged, ...], unit: Prepared) -> Iterator[list[Answer]]:
        """Yield the answers to each question about each text, over all its windows."""
        sequences, text = unit.sequences, unit.items.text
        for first, after in pairwise(sequences.groups.tolist()):
            row = unit.items.rows["text"][sequences.item[first]]
            # Words end where the text was cut: whether the rest was tokenized is a matter of speed.
            begin, end = sequences.start[first], sequences.stop[first:after].max()
            windows = [_window(results, sequences, n, begin) for n in range(first, after)]
            begin, end = text.ids.offsets[row] + (begin, end)
            yield best_answers(
                windows,
                text.places.starts[begin:end],
                text.places.ends[begin:end],
                text.places.begins[begin:end],
                top_k=self._top_k,
                max_answer_length=self._max_answer_length,
                handle_impossible_answer=self._impossible,
            )

    def _as_rows(self, answers: Sequence[Answer], text: str) -> Any:
        rows = [
            {"text": text[a.start : a.end], "start": a.start, "end": a.end, "score": a.score} for a in answers
        ]
        return rows if self._top_k > 1 else next(iter(rows), None)


def _window(results: tuple[Ragged, ...], sequences: Sequences, number: int, begin: int) -> AnswerWindow:
    """Return a view of a window's logits: of its text, and of its first token, which means no answer.

    Tokens are counted from `begin` on.
    """
    base = sequences.tokens.offsets[number]
    first, last = sequences.start[number], sequences.stop[number]
    at = base + sequences.at[number]
    starts, ends = (result.values for result in results)
    there = slice(at, at + last - first)
    return AnswerWindow(
        int(first - begin), starts[there], ends[there], float(starts[base]), float(ends[base])
    )
