"""Token probabilities to spans: transformers' pipeline where it knows the scheme, lenient beyond it."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForTokenClassification, AutoTokenizer, TokenClassificationPipeline
from transformers.pipelines.token_classification import AggregationStrategy

from corpusmill.pipeline.tasks.spans import AGGREGATIONS, LabelScheme, ScoredTokens, Spans, decode_spans

Found = list[tuple[int, int, str, float]]

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
LABEL_SETS = (
    BIO,
    ("I-LOC", "I-PER", "O"),
    ("O", "PER", "LOC"),
    ("LABEL_0", "LABEL_1", "LABEL_2"),
    ("O", "PER", "I-PER", "B-PER", "B_PER", "b_per"),
    ("B-e-mail", "I-e-mail", "O"),
)
SCHEMES = {
    "BIO": ("O", "B-A", "I-A", "B-B", "I-B"),
    "BIOES": ("O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B"),
    "BILOU": ("O", "B-A", "I-A", "L-A", "U-A", "B-B", "I-B", "L-B", "U-B"),
    "BMES": ("O", "B-A", "M-A", "E-A", "S-A", "B-B", "M-B", "E-B", "S-B"),
}
LETTERS = {"BIO": "BIIB", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
"""What begins, continues, ends, and alone makes a span."""


def scored(documents: Sequence[np.ndarray[Any, Any]], begins: Sequence[Sequence[bool]]) -> ScoredTokens:
    """Tokens of three characters and a space, counted anew in each document."""
    lengths = [len(rows) for rows in documents]
    starts = np.concatenate([np.arange(length) * 4 for length in lengths])
    tokens = ScoredTokens(
        probabilities=np.concatenate(documents).astype(np.float32),
        starts=starts,
        ends=starts + 3,
        word_begins=np.concatenate([np.array(each, bool) for each in begins]),
        offsets=np.concatenate(([0], np.cumsum(lengths))),
    )
    for field in fields(tokens):  # as arrays over Arrow's memory are
        getattr(tokens, field.name).setflags(write=False)
    return tokens


def certain(sequence: Sequence[str], labels: Sequence[str]) -> np.ndarray[Any, Any]:
    """Probability 1 for each named label."""
    return np.eye(len(labels), dtype=np.float32)[[labels.index(label) for label in sequence]]


def found(spans: Spans) -> list[Found]:
    """The spans of each document as tuples."""
    rows = [
        (int(start), int(end), spans.names[label], float(score))
        for start, end, label, score in zip(spans.starts, spans.ends, spans.labels, spans.scores, strict=True)
    ]
    return [rows[first:last] for first, last in pairwise(spans.offsets.tolist())]


def tagged(sequence: str, labels: tuple[str, ...], aggregation: str = "simple") -> list[tuple[int, int, str]]:
    """First token, last token and type of the spans of one document of one-token words."""
    names = sequence.split()
    tokens = scored([certain(names, labels)], [[True] * len(names)])
    (rows,) = found(decode_spans(tokens, LabelScheme.of(labels), aggregation))
    return [(start // 4, end // 4, label) for start, end, label, _ in rows]


def reference(
    tokens: ScoredTokens, labels: tuple[str, ...], aggregation: str, ignore: tuple[str, ...] = ("O",)
) -> list[Found]:
    """What transformers makes of each document alone, filtered as its `postprocess` does."""
    pipe = TokenClassificationPipeline.__new__(TokenClassificationPipeline)
    pipe.model = SimpleNamespace(config=SimpleNamespace(id2label=dict(enumerate(labels))))
    pipe.tokenizer = SimpleNamespace(convert_tokens_to_string=" ".join)
    documents = []
    for first, last in pairwise(tokens.offsets.tolist()):
        pieces = [
            {
                "scores": tokens.probabilities[i],
                "start": int(tokens.starts[i]),
                "end": int(tokens.ends[i]),
                "index": i,
                "is_subword": not tokens.word_begins[i],
                "word": "x",
            }
            for i in range(first, last)
        ]
        entities = pipe.aggregate(pieces, AggregationStrategy(aggregation))
        rows = [(e["start"], e["end"], e.get("entity", e.get("entity_group")), e["score"]) for e in entities]
        documents.append([row for row in rows if row[2] not in ignore])
    return documents


def assert_same(ours: list[Found], theirs: list[Found]) -> None:
    assert [[row[:3] for row in rows] for rows in ours] == [[row[:3] for row in rows] for rows in theirs]
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose([r[3] for r in mine], [r[3] for r in expected], rtol=1e-6)


@st.composite
def units(draw: Callable[..., Any], labels: int) -> ScoredTokens:
    """A few documents, some empty; eighths as probabilities, so that many are equal."""
    lengths = draw(st.lists(st.integers(0, 7), min_size=1, max_size=4))
    rows = [
        draw(st.lists(st.lists(st.integers(0, 8), min_size=labels, max_size=labels), min_size=n, max_size=n))
        for n in lengths
    ]
    begins = [draw(st.lists(st.booleans(), min_size=n, max_size=n)) for n in lengths]
    return scored([np.array(each, np.float32).reshape(-1, labels) / 8 for each in rows], begins)


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("labels", LABEL_SETS, ids=" ".join)
def test_spans_are_those_of_transformers(labels: tuple[str, ...], aggregation: str) -> None:
    """For all documents at once what it says of each alone, ties included."""

    @settings(max_examples=60, derandomize=True, deadline=None)
    @given(tokens=units(len(labels)))
    def check(tokens: ScoredTokens) -> None:
        spans = decode_spans(tokens, LabelScheme.of(labels), aggregation)
        assert_same(found(spans), reference(tokens, labels, aggregation))

    check()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_long_units_are_decoded_as_transformers_does(aggregation: str) -> None:
    """Softmax outputs, longer words and spans: means of many values."""
    generator = np.random.default_rng(0)
    lengths = [400, 0, 1, 250]
    rows = [np.exp(3 * generator.normal(size=(n, len(BIO)))) for n in lengths]
    tokens = scored(
        [each / each.sum(1, keepdims=True) for each in rows], [generator.random(n) < 0.4 for n in lengths]
    )
    spans = decode_spans(tokens, LabelScheme.of(BIO), aggregation)
    assert_same(found(spans), reference(tokens, BIO, aggregation))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ignore", [(), ("PER",), ("B-PER", "O")], ids=str)
def test_ignored_names_are_types_but_for_single_tokens_labels(
    ignore: tuple[str, ...], aggregation: str
) -> None:
    """As transformers compares them: after grouping, with what it would report."""
    generator = np.random.default_rng(1)
    tokens = scored([generator.random((40, len(BIO)))], [generator.random(40) < 0.7])
    spans = decode_spans(tokens, LabelScheme.of(BIO, ignore), aggregation)
    assert_same(found(spans), reference(tokens, BIO, aggregation, ignore))
    assert not set(ignore) & {row[2] for row in found(spans)[0]}


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_text_gives_what_the_whole_pipeline_gives(
    aggregation: str, checkpoint: Callable[..., Path]
) -> None:
    """From real offsets and pieces of words."""
    labels = ("B-PER", "I-PER", "B-LOC", "I-LOC")
    folder = checkpoint("token-classification", labels=labels)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "the reading fishermen walked over mountainness, watching zebras play"
    pipe = TokenClassificationPipeline(model=model, tokenizer=tokenizer, aggregation_strategy=aggregation)
    expected = [
        (e["start"], e["end"], e.get("entity", e.get("entity_group")), e["score"]) for e in pipe(text)
    ]

    encoding = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        rows = model(**encoding).logits[0].softmax(-1).numpy()[1:-1]
    words = encoding.word_ids(0)[1:-1]
    limits = np.array(encoding.encodings[0].offsets)[1:-1]
    tokens = ScoredTokens(
        probabilities=rows,
        starts=limits[:, 0],
        ends=limits[:, 1],
        word_begins=np.array([True, *(a != b for a, b in pairwise(words))]),
        offsets=np.array([0, len(words)]),
    )
    assert not tokens.word_begins.all()
    assert_same(found(decode_spans(tokens, LabelScheme.of(labels), aggregation)), [expected])


CONLL = ("O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
ENZO = ((0, 2, True, {4: 0.9968166}), (2, 4, False, {4: 0.9957636}), (11, 13, True, {5: 0.9986497}))
RAMAZOTTI = (
    (0, 2, True, {1: 0.55, 3: 0.45}),
    (2, 4, False, {3: 0.2, 7: 0.8}),
    (11, 13, False, {3: 0.4, 6: 0.6}),
)
PLAIN = ("O", "MISC", "PER", "ORG", "LOC")
ENZO_PLAIN = ((0, 2, True, {4: 0.9968166}), (2, 4, False, {4: 0.9957636}), (11, 13, True, {3: 0.9986497}))
PUBLISHED = [
    (ENZO, "none", [(0, 2, "I-PER", 0.997), (2, 4, "I-PER", 0.996), (11, 13, "B-ORG", 0.999)]),
    (ENZO, "simple", [(0, 4, "PER", 0.996), (11, 13, "ORG", 0.999)]),
    (ENZO, "first", [(0, 4, "PER", 0.997), (11, 13, "ORG", 0.999)]),
    (ENZO, "max", [(0, 4, "PER", 0.997), (11, 13, "ORG", 0.999)]),
    (ENZO, "average", [(0, 4, "PER", 0.996), (11, 13, "ORG", 0.999)]),
    (RAMAZOTTI, "none", [(0, 2, "B-MISC", 0.55), (2, 4, "B-LOC", 0.8), (11, 13, "I-ORG", 0.6)]),
    (RAMAZOTTI, "first", [(0, 13, "MISC", 0.55)]),
    (RAMAZOTTI, "max", [(0, 13, "LOC", 0.8)]),
    (RAMAZOTTI, "average", [(0, 13, "PER", 0.35)]),
    (ENZO_PLAIN, "none", [(0, 2, "LOC", 0.997), (2, 4, "LOC", 0.996), (11, 13, "ORG", 0.999)]),
    (ENZO_PLAIN, "simple", [(0, 4, "LOC", 0.996), (11, 13, "ORG", 0.999)]),
]


@pytest.mark.parametrize(("case", "aggregation", "expected"), PUBLISHED)
def test_published_cases(case: tuple[Any, ...], aggregation: str, expected: Found) -> None:
    """The numbers of transformers' own tests (tests/pipelines/test_pipelines_token_classification.py)."""
    labels = PLAIN if case is ENZO_PLAIN else CONLL
    rows = np.zeros((len(case), len(labels)), np.float32)
    for row, (_, _, _, values) in zip(rows, case, strict=True):
        row[list(values)] = list(values.values())
    tokens = ScoredTokens(
        probabilities=rows,
        starts=np.array([token[0] for token in case]),
        ends=np.array([token[1] for token in case]),
        word_begins=np.array([token[2] for token in case]),
        offsets=np.array([0, len(case)]),
    )
    (ours,) = found(decode_spans(tokens, LabelScheme.of(labels), aggregation))
    assert [(*row[:3], pytest.approx(row[3], abs=5.1e-4)) for row in ours] == expected


@pytest.mark.parametrize("aggregation", ["simple", "first", "average", "max"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_written_in_a_scheme_are_read_back(scheme: str, aggregation: str) -> None:
    """Adjacent ones of the same type too."""

    @settings(max_examples=60, derandomize=True, deadline=None)
    @given(parts=st.lists(st.tuples(st.sampled_from("OAB"), st.integers(1, 4)), min_size=1, max_size=8))
    def check(parts: list[tuple[str, int]]) -> None:
        begin, inside, end, single = LETTERS[scheme]
        sequence: list[str] = []
        expected = []
        for kind, length in parts:
            if kind == "O":
                sequence += ["O"] * length
                continue
            expected.append((len(sequence), len(sequence) + length - 1, kind))
            letters = single if length == 1 else begin + inside * (length - 2) + end
            sequence += [f"{letter}-{kind}" for letter in letters]
        assert tagged(" ".join(sequence), SCHEMES[scheme], aggregation) == expected

    check()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_token_that_is_not_o_is_lost(scheme: str) -> None:
    """Whatever the order of labels: each is in exactly one span, of its own type."""
    labels = SCHEMES[scheme]

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(sequence=st.lists(st.sampled_from(labels), min_size=1, max_size=12))
    def check(sequence: list[str]) -> None:
        covered = [
            (token, kind)
            for first, last, kind in tagged(" ".join(sequence), labels)
            for token in range(first, last + 1)
        ]
        assert covered == [(i, label[2:]) for i, label in enumerate(sequence) if label != "O"]

    check()


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ("O I-A I-A", [(1, 2, "A")]),
        ("I-B I-A O", [(0, 0, "B"), (1, 1, "A")]),
        ("B-A E-A I-A E-A", [(0, 1, "A"), (2, 3, "A")]),
        ("O E-A O", [(1, 1, "A")]),
        ("B-B E-A", [(0, 0, "B"), (1, 1, "A")]),
        ("B-A O B-A", [(0, 0, "A"), (2, 2, "A")]),
        ("B-A S-A I-A", [(0, 0, "A"), (1, 1, "A"), (2, 2, "A")]),
        ("S-A E-A E-A", [(0, 0, "A"), (1, 1, "A"), (2, 2, "A")]),
        ("I-A B-A I-A", [(0, 0, "A"), (1, 2, "A")]),
    ],
)
def test_malformed_sequences_are_read_as_the_table_says(
    sequence: str, expected: list[tuple[int, int, str]]
) -> None:
    """BIOES; and BILOU alike, with L for E and U for S."""
    assert tagged(sequence, SCHEMES["BIOES"]) == expected
    other = sequence.replace("E-", "L-").replace("S-", "U-")
    assert tagged(other, SCHEMES["BILOU"]) == expected


@pytest.mark.parametrize(
    ("labels", "types"),
    [
        (("O", "B-PER", "I-PER"), ("O", "PER")),
        (("LABEL_0", "B_PER", "b-per", "-"), ("LABEL_0", "B_PER", "b-per", "-")),
        (("O", "S-video", "E-mail"), ("O", "S-video", "E-mail")),
        (("O", "I-ORG", "E-mail"), ("O", "ORG", "E-mail")),
        (("O", "I-ORG", "U-turn", "E-ORG", "S-LOC"), ("O", "ORG", "U-turn", "LOC")),
        (("B-A-B", "I-A-B"), ("A-B",)),
    ],
)
def test_a_prefix_counts_where_the_label_set_uses_it_as_one(
    labels: tuple[str, ...], types: tuple[str, ...]
) -> None:
    """A type without a prefix keeps its whole name."""
    assert LabelScheme.of(labels).types == types


def test_only_the_label_sets_own_prefixes_end_a_span() -> None:
    """S- and E- before types that no B- or I- precedes are part of the name."""
    labels = ("O", "B-A", "I-A", "S-video")
    assert tagged("S-video S-video B-A I-A", labels) == [(0, 1, "S-video"), (2, 3, "A")]


@pytest.mark.parametrize("aggregation", ["simple", "first", "average", "max"])
def test_nothing_reaches_over_the_edge_of_a_document(aggregation: str) -> None:
    """Neither a span nor a word; and documents without tokens, first and last too, have no spans."""
    one = certain(["I-PER", "I-PER"], BIO)
    other = certain(["I-PER", "B-LOC"], BIO)
    tokens = scored([one[:0], one, one[:0], other, one[:0]], [[], [True, True], [], [False, True], []])
    assert found(decode_spans(tokens, LabelScheme.of(BIO), aggregation)) == [
        [],
        [(0, 7, "PER", 1.0)],
        [],
        [(0, 3, "PER", 1.0), (4, 7, "LOC", 1.0)],
        [],
    ]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_unit_without_tokens_has_no_spans(aggregation: str) -> None:
    """Of the types that it would have with some."""
    nothing = np.zeros((0, len(BIO)), np.float32)
    spans = decode_spans(scored([nothing, nothing], [[], []]), LabelScheme.of(BIO), aggregation)
    assert found(spans) == [[], []]
    assert spans.scores.dtype == np.float32
    assert spans.names == (BIO if aggregation == "none" else ("O", "PER", "LOC"))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_probability_that_is_no_number_stays_with_its_word(aggregation: str) -> None:
    """A model that overflows spoils its own token: the words around it keep their places."""
    rows = certain(["B-PER", "B-PER", "I-PER", "B-LOC", "O"], BIO)
    rows[[1, 4]] = np.nan
    tokens = scored([rows], [[True, True, False, True, True]])
    (ours,) = found(decode_spans(tokens, LabelScheme.of(BIO), aggregation))
    assert ours[0][:2] == (0, 3)
    assert ours[-1] == (12, 15, "B-LOC" if aggregation == "none" else "LOC", 1.0)
