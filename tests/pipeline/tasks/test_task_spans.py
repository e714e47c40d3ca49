"""Spans and answers in texts longer than a window, and offsets into texts that the tokenizer changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.running import encoded
from support.word_readers import BLIND, WINDOW, write_answerer, write_tagger
from transformers import AutoModelForTokenClassification, AutoTokenizer, TokenClassificationPipeline

from corpusmill.jobs.resolve.model import model_spec
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.spec import ModelSpec

Model = Callable[..., ModelSpec]
Checkpoints = Callable[..., Path]
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
FOUND = "good book book"
LENGTH = 60
STRIDE = 6
TEXTS = [
    "the water runs to the old house",
    None,
    "",
    "   ",
    "night",
    "Good B\u00fcok, and a book!",
    "[SEP] [SEP]",
]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_answerer(tmp_path_factory.mktemp("answerer"))


def planted(places: range, found: str = FOUND) -> list[str]:
    """Texts of LENGTH words with the three to be found at each place."""
    return [" ".join(["the"] * at + found.split() + ["the"] * (LENGTH - 3 - at)) for at in places]


@pytest.mark.parametrize("aggregation", ["simple", "first", "average", "max"])
def test_spans_planted_at_every_place_are_found_once_and_whole(
    tagger: Path, model: Model, aggregation: str
) -> None:
    """Across every edge of every window, by a model that sees nothing near a window's ends."""
    texts = planted(range(BLIND, LENGTH - 3 - BLIND))
    spec = model(
        tagger,
        "token-classification",
        max_length=WINDOW,
        stride=STRIDE,
        aggregation=aggregation,
        tokens_per_batch=200,
    )
    for text, spans in zip(texts, encoded(spec, text=texts)["spans"].to_pylist(), strict=True):
        assert [(span["start"], span["end"], span["label"]) for span in spans] == [
            (text.index("good"), text.index("good") + len(FOUND), "X")
        ]
        assert spans[0]["text"] == FOUND


def test_without_windows_what_is_cut_off_is_not_found(tagger: Path, model: Model) -> None:
    """The planted places are told apart: this is what windows are for."""
    spec = model(tagger, "token-classification", max_length=WINDOW)
    counts = [len(spans) for spans in encoded(spec, text=planted(range(BLIND, 50)))["spans"].to_pylist()]
    assert 0 < sum(counts) < len(counts)


def test_places_count_from_the_beginning_of_a_text_that_is_cut_there(
    tmp_path: Path,
) -> None:
    """With `truncation_side: left` the last tokens are read."""
    folder = write_tagger(tmp_path)
    settings_file = folder / "tokenizer_config.json"
    settings_file.write_text(json.dumps(json.loads(settings_file.read_text()) | {"truncation_side": "left"}))
    texts = planted(range(LENGTH - WINDOW + BLIND + 2, LENGTH - 3 - BLIND))
    spec = model_spec(str(folder), task="token-classification", max_length=WINDOW, device="cpu")
    for text, spans in zip(texts, encoded(spec, text=texts)["spans"].to_pylist(), strict=True):
        assert [(span["start"], span["text"]) for span in spans] == [(text.index("good"), FOUND)]
    spec = model_spec(str(folder), task="token-embedding", max_length=WINDOW, device="cpu")
    (places,) = encoded(spec, text=texts[:1])["token_offsets"].to_pylist()
    words = [texts[0][place["start"] : place["end"]] for place in places]
    assert words == texts[0].split()[-len(words) :]


def test_answers_planted_at_every_place_are_found_once(answerer: Path, model: Model) -> None:
    """Whatever window holds them whole; the best of all windows' candidates, with distinct runners-up."""
    found = "good the book"
    texts = planted(range(BLIND, LENGTH - 3 - BLIND), found)
    questions = ["which one"] * len(texts)
    spec = model(answerer, "question-answering", max_length=WINDOW, stride=STRIDE, pairs=True, top_k=3)
    table = encoded(spec, text=texts, text_pair=questions)
    for text, answers in zip(texts, table["answers"].to_pylist(), strict=True):
        assert answers[0]["text"] == found
        assert text[answers[0]["start"] : answers[0]["end"]] == found
        assert len({(answer["start"], answer["end"]) for answer in answers}) == 3


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
@pytest.mark.parametrize("architecture", ["bert", "convbert"])
def test_spans_are_those_of_the_reference(
    checkpoint: Checkpoints, model: Model, architecture: str, aggregation: str
) -> None:
    """Places, labels and scores of texts that fit; a null text is null, one without words has no spans."""
    folder = checkpoint("token-classification", architecture, labels=LABELS)
    table = encoded(model(folder, "token-classification", max_length=64, aggregation=aggregation), text=TEXTS)
    pipeline = TokenClassificationPipeline(
        model=AutoModelForTokenClassification.from_pretrained(folder).eval(),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        device=torch.device("cpu"),
        aggregation_strategy=aggregation,
    )
    for text, spans in zip(TEXTS, table["spans"].to_pylist(), strict=True):
        if text is None:
            assert spans is None
            continue
        expected = [] if not text.strip() or text.startswith("[") else pipeline(text)
        if text.startswith("["):
            continue
        assert [(span["start"], span["end"]) for span in spans] == [(x["start"], x["end"]) for x in expected]
        assert [span["label"] for span in spans] == [x.get("entity_group", x.get("entity")) for x in expected]
        assert [span["score"] for span in spans] == pytest.approx(
            [float(x["score"]) for x in expected], abs=1e-5
        )


ALPHABET = st.sampled_from(
    ["good", "book", "the", " ", ", ", "e\u0301", "\u00e9", "\U0001f600", "\u4e2d", "\uac01", "\u00ad", "\n"]
)
ENCODERS: dict[str, Encoder] = {}


@pytest.mark.slow
@settings(max_examples=20, derandomize=True, deadline=None)
@given(parts=st.lists(st.lists(ALPHABET, max_size=30).map("".join), min_size=1, max_size=6))
def test_a_span_is_what_stands_at_its_place(checkpoint: Checkpoints, model: Model, parts: list[str]) -> None:
    """`text[start:end]` always, sorted and disjoint, whatever normalization did to the text."""
    folder = checkpoint("token-classification", labels=LABELS)
    for aggregation, stride in (("none", None), ("simple", 4), ("max", None)):
        spec = model(folder, "token-classification", max_length=12, stride=stride, aggregation=aggregation)
        for text, spans in zip(parts, encoded(spec, text=parts)["spans"].to_pylist(), strict=True):
            assert [text[span["start"] : span["end"]] for span in spans] == [span["text"] for span in spans]
            assert all(span["start"] < span["end"] for span in spans)
            if aggregation != "none":
                ends = [span["end"] for span in spans[:-1]]
                assert all(end <= after["start"] for end, after in zip(ends, spans[1:], strict=True))


@settings(max_examples=20, derandomize=True, deadline=None)
@given(parts=st.lists(st.lists(ALPHABET, max_size=30).map("".join), min_size=1, max_size=6))
def test_an_answer_is_what_stands_at_its_place(
    checkpoint: Checkpoints, model: Model, parts: list[str]
) -> None:
    """`text[start:end]` always, distinct and best first, in one window or in several."""
    folder = checkpoint("question-answering")
    for stride in (None, 3):
        spec = model(folder, "question-answering", max_length=14, stride=stride, pairs=True, top_k=4)
        table = encoded(spec, text=parts, text_pair=["the house"] * len(parts))
        for text, answers in zip(parts, table["answers"].to_pylist(), strict=True):
            assert [text[answer["start"] : answer["end"]] for answer in answers] == [
                answer["text"] for answer in answers
            ]
            assert all(answer["text"] for answer in answers)
            assert len({(answer["start"], answer["end"]) for answer in answers}) == len(answers) <= 4
            scores = [answer["score"] for answer in answers]
            assert scores == sorted(scores, reverse=True)


def test_a_threshold_and_other_ignored_labels(checkpoint: Checkpoints, model: Model) -> None:
    """A span below the threshold is left out; nothing ignored gives one span a stretch of O too."""
    folder = checkpoint("token-classification", labels=LABELS)
    spec = model(folder, "token-classification", max_length=64)
    (everything,) = encoded(spec, text=TEXTS[:1])["spans"].to_pylist()
    middle = sorted(span["score"] for span in everything)[len(everything) // 2]
    (best,) = encoded(model(folder, "token-classification", max_length=64, threshold=middle), text=TEXTS[:1])[
        "spans"
    ].to_pylist()
    assert best == [span for span in everything if span["score"] >= middle]
    assert 0 < len(best) < len(everything) or len(everything) == 1
    (none_ignored,) = encoded(
        model(folder, "token-classification", max_length=64, ignore_labels=[]), text=TEXTS[:1]
    )["spans"].to_pylist()
    covered = sum(span["end"] - span["start"] for span in none_ignored)
    assert covered >= len(TEXTS[0].replace(" ", ""))  # type: ignore[union-attr]


@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize("questions", [["what"], ["what", "where is it", "who"]], ids=len)
def test_the_questions_of_a_job_are_asked_of_every_text(
    checkpoint: Checkpoints, model: Model, questions: list[str], top_k: int | None
) -> None:
    """Each as if it stood in a column of its own; the column's shape follows top_k and their number."""
    folder = checkpoint("question-answering")
    texts = ["the water runs to the old house", None, "they watch it all night"]
    options: dict[str, Any] = {"max_length": 24} | ({} if top_k is None else {"top_k": top_k})
    fixed = encoded(model(folder, "question-answering", questions=questions, **options), text=texts)
    kind = fixed.schema.field(0).type
    one = pa.struct(
        [("text", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("score", pa.float32())]
    )
    inner = one if top_k is None else pa.list_(one)
    assert kind == (inner if len(questions) == 1 else pa.list_(inner))
    assert fixed.column_names == ["answer" if (len(questions), top_k) == (1, None) else "answers"]
    by_column = [
        encoded(
            model(folder, "question-answering", pairs=True, **options), text=texts, text_pair=[q] * len(texts)
        )
        .column(0)
        .to_pylist()
        for q in questions
    ]
    for i, row in enumerate(fixed.column(0).to_pylist()):
        asked = [row] if len(questions) == 1 else row
        if texts[i] is None:
            assert row is None
            continue
        for answer, expected in zip(asked, (column[i] for column in by_column), strict=True):
            same_answers([answer] if top_k is None else answer, [expected] if top_k is None else expected)


def same_answers(found: list[Any], expected: list[Any]) -> None:
    assert [(a["start"], a["end"], a["text"]) for a in found] == [
        (a["start"], a["end"], a["text"]) for a in expected
    ]
    assert [a["score"] for a in found] == pytest.approx([a["score"] for a in expected], abs=1e-6)


def test_texts_without_words_have_no_answer(checkpoint: Checkpoints, model: Model) -> None:
    """Null, or no candidates; a null question gives null."""
    folder = checkpoint("question-answering")
    single = model(folder, "question-answering", pairs=True, max_length=24)
    several = model(folder, "question-answering", pairs=True, max_length=24, top_k=2)
    texts, questions = ["", " ", None, "the water", "the"], ["who", "who", "who", None, ""]
    found = encoded(single, text=texts, text_pair=questions)["answer"].to_pylist()
    assert [answer is None for answer in found] == [True, True, True, True, False]
    assert found[4]["text"] == "the"
    found = encoded(several, text=texts, text_pair=questions)["answers"].to_pylist()
    assert found[:4] == [[], [], None, None]


def test_a_question_longer_than_the_window_leaves_half_of_it(checkpoint: Checkpoints, model: Model) -> None:
    """The text is still read: the answer may be its last word."""
    spec = model(checkpoint("question-answering"), "question-answering", pairs=True, max_length=16, stride=2)
    text = "the water runs to the old house"
    (answer,) = encoded(spec, text=[text], text_pair=["who is it that " * 30])["answer"].to_pylist()
    assert text[answer["start"] : answer["end"]] == answer["text"]


def test_no_answer_competes_when_asked_to(checkpoint: Checkpoints, model: Model) -> None:
    """An empty text at 0, with its own score, among the candidates."""
    spec = model(
        checkpoint("question-answering"),
        "question-answering",
        pairs=True,
        max_length=24,
        top_k=1000,
        handle_impossible_answer=True,
    )
    (answers,) = encoded(spec, text=["the water runs"], text_pair=["who"])["answers"].to_pylist()
    assert [a for a in answers if a["text"] == ""] == [
        {
            "text": "",
            "start": 0,
            "end": 0,
            "score": pytest.approx(max(a["score"] for a in answers if not a["text"])),
        }
    ]
    assert len(answers) == 1 + 3 * 4 // 2
