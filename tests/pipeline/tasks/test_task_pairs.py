"""Tasks that read two texts a row: next sentence, multiple choice, zero-shot labels of the job's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.running import encoded
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ZeroShotClassificationPipeline,
)

from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.spec import ModelSpec

Model = Callable[..., ModelSpec]
Checkpoints = Callable[..., Path]
NLI = ("entailment", "neutral", "contradiction")
LONG = "they watch the old house all night and " * 9
FIRST = ["the water runs", None, "", LONG, "the water runs", "good"]
SECOND = ["to the old house", "a", "night", "and it runs", "to the old house", LONG]
CHOICES = [["good", "the old book", LONG], ["a"], ["house"], ["it", "is"], [], None]
RANKED = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))


@torch.no_grad()
def logits_of_pair(model: Any, folder: Path, first: str, second: str, strategy: str = "longest_first") -> Any:
    """The reference's logits for one pair alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(first, second, truncation=strategy, max_length=24, return_tensors="pt")
    return model(**batch).logits


@pytest.mark.parametrize("architecture", ["bert", "mobilebert"])
def test_next_sentences_are_judged_as_by_the_reference(
    checkpoint: Checkpoints, model: Model, architecture: str
) -> None:
    """`score` is the probability of the first class, "follows"; a missing half gives nulls."""
    folder = checkpoint("next-sentence-prediction", architecture)
    spec = model(folder, "next-sentence-prediction", pairs=True, max_length=24)
    table = encoded(spec, text=FIRST, text_pair=SECOND)
    assert table.schema == pa.schema([("is_next", pa.bool_()), ("score", pa.float32())])
    reference = AutoModelForNextSentencePrediction.from_pretrained(folder).eval()
    for row, first, second in zip(table.to_pylist(), FIRST, SECOND, strict=True):
        if first is None:
            assert row == {"is_next": None, "score": None}
            continue
        follows = logits_of_pair(reference, folder, first, second).softmax(-1)[0, 0].item()
        assert row["score"] == pytest.approx(follows, abs=1e-5)
        assert row["is_next"] == (follows >= 0.5)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "squeezebert", "convbert"])
def test_choices_are_scored_as_by_the_reference(
    checkpoint: Checkpoints, model: Model, architecture: str
) -> None:
    """A softmax over the row's own choices; one choice is certain; none, or a null list, gives null."""
    folder = checkpoint("multiple-choice", architecture)
    spec = model(folder, "multiple-choice", pairs=True, max_length=24)
    table = encoded(spec, text=FIRST, text_pair=CHOICES)
    assert table.schema == pa.schema([("choice", pa.int32()), ("scores", pa.list_(pa.float32()))])
    reference = AutoModelForMultipleChoice.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row, first, choices in zip(table.to_pylist(), FIRST, CHOICES, strict=True):
        if first is None or not choices:
            assert row == {"choice": None, "scores": None}
            continue
        logits = torch.cat([alone(reference, tokenizer, first, choice) for choice in choices])
        np.testing.assert_allclose(row["scores"], logits.softmax(0).numpy(), atol=1e-5)
        assert row["choice"] == int(logits.argmax())


@torch.no_grad()
def alone(model: Any, tokenizer: Any, first: str, second: str) -> torch.Tensor:
    """One choice's score; the reference's own batches would pad it."""
    batch = tokenizer(first, second, truncation="longest_first", max_length=24, return_tensors="pt")
    return model(**{name: x[None] for name, x in batch.items()}).logits[0]  # type: ignore[no-any-return]


def test_a_null_among_the_choices_makes_the_row_null(checkpoint: Checkpoints, model: Model) -> None:
    """There is no way to score what is not there, and leaving it out would shift the others' numbers."""
    spec = model(checkpoint("multiple-choice"), "multiple-choice", pairs=True)
    rows = encoded(spec, text=["the", "the"], text_pair=[["a", None], ["a", "b"]])["scores"].to_pylist()
    assert rows[0] is None
    assert len(rows[1]) == 2


def test_equal_choices_share_the_score_and_the_first_is_chosen(checkpoint: Checkpoints, model: Model) -> None:
    """Ties go to the lower number."""
    spec = model(checkpoint("multiple-choice"), "multiple-choice", pairs=True)
    (row,) = encoded(spec, text=["the water"], text_pair=[["good", "good"]]).to_pylist()
    assert row["choice"] == 0
    assert row["scores"] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("labels", [["sports"], ["water", "a good book", "night"]], ids=len)
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_zero_shot_labels_are_those_of_the_reference(
    checkpoint: Checkpoints, model: Model, architecture: str, labels: list[str], multi_label: bool
) -> None:
    """Best first with the pipeline's scores; only the text is cut; a null text has no labels."""
    folder = checkpoint("text-classification", architecture, labels=NLI)
    template = "it is about {} and"
    spec = model(
        folder,
        "zero-shot-classification",
        max_length=24,
        candidate_labels=labels,
        hypothesis_template=template,
        multi_label=multi_label,
    )
    table = encoded(spec, text=FIRST)
    assert table.schema == pa.schema([("labels", RANKED)])
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=24)
    pipeline = ZeroShotClassificationPipeline(
        model=AutoModelForSequenceClassification.from_pretrained(folder).eval(), tokenizer=tokenizer
    )
    for row, text in zip(table["labels"].to_pylist(), FIRST, strict=True):
        if not text:  # the pipeline refuses an empty one
            assert (row is None) == (text is None)
            continue
        expected = pipeline(
            text, candidate_labels=labels, hypothesis_template=template, multi_label=multi_label
        )
        assert [item["label"] for item in row] == expected["labels"]
        np.testing.assert_allclose([item["score"] for item in row], expected["scores"], atol=1e-5)


def test_zero_shot_takes_its_verdicts_from_the_labels_names(checkpoint: Checkpoints, model: Model) -> None:
    """Whatever their order, and case: the same weights with other names give another answer."""
    one = checkpoint("text-classification", labels=("CONTRADICTION", "neutral", "ENTAILMENT"))
    other = checkpoint("text-classification", labels=("entailed", "maybe", "contradicted"))
    options = {"candidate_labels": ["water"]}
    scores = [
        encoded(model(folder, "zero-shot-classification", **options), text=["the water"])["labels"][0][0][
            "score"
        ].as_py()
        for folder in (one, other)
    ]
    assert scores[0] == pytest.approx(1 - scores[1], abs=1e-6)


@pytest.mark.parametrize(
    "stated", [{"entailment": 2, "maybe": 1, "no": 0}, {"ENTAIL": 1, "entailment": 0}, {"no": 0}, {}], ids=str
)
def test_zero_shot_takes_entailment_from_label2id(
    checkpoint: Checkpoints, model: Model, stated: dict[str, int]
) -> None:
    """As the pipeline does, also where `id2label` says otherwise; without such a label `id2label` counts."""
    labels = ["water", "a good book"]
    folder = checkpoint("text-classification", labels=NLI)
    config = json.loads((folder / "config.json").read_text()) | {"label2id": stated}
    (folder / "config.json").write_text(json.dumps(config))
    spec = model(folder, "zero-shot-classification", candidate_labels=labels)
    found = {row["label"]: row["score"] for row in encoded(spec, text=["the water"])["labels"][0].as_py()}
    if not any(name.lower().startswith("entail") for name in stated):
        (folder / "config.json").write_text(json.dumps(config | {"label2id": {"entailment": 0}}))
    pipeline = ZeroShotClassificationPipeline(
        model=AutoModelForSequenceClassification.from_pretrained(folder).eval(),
        tokenizer=AutoTokenizer.from_pretrained(folder),
    )
    expected = pipeline("the water", candidate_labels=labels)
    assert found == pytest.approx(dict(zip(expected["labels"], expected["scores"], strict=True)), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({}, "candidate_labels", "is required"),
        ({"candidate_labels": ["a", "a"]}, "candidate_labels", "each label once"),
        ({"candidate_labels": ["a"], "hypothesis_template": "none"}, "hypothesis_template", "one {}"),
        ({"candidate_labels": ["a"], "hypothesis_template": "{} {}"}, "hypothesis_template", "one {}"),
    ],
)
def test_zero_shot_options_that_cannot_be_name_their_field(
    checkpoint: Checkpoints, model: Model, options: dict[str, Any], field: str, words: str
) -> None:
    """Before anything runs."""
    folder = checkpoint("text-classification", labels=NLI)
    with pytest.raises(OptionError, match=words.replace("{}", r"\{\}")) as caught:
        model(folder, "zero-shot-classification", **options)
    assert caught.value.field == field


def test_zero_shot_needs_a_checkpoint_that_judges_entailment(checkpoint: Checkpoints, model: Model) -> None:
    """A sentiment model would give numbers all the same."""
    with pytest.raises(OptionError, match="begins with 'entail', got neg, pos"):
        model(checkpoint("text-classification"), "zero-shot-classification", candidate_labels=["a"])


def test_zero_shot_windows_combine_before_the_softmax(checkpoint: Checkpoints, model: Model) -> None:
    """Each label's windows may differ in number; a text that fits gives the same either way."""
    folder = checkpoint("text-classification", labels=NLI)
    options = {"candidate_labels": ["a", "water and an old house"], "max_length": 24}
    windowed = model(folder, "zero-shot-classification", stride=4, **options)
    plain = model(folder, "zero-shot-classification", **options)
    first, second = (
        encoded(spec, text=["the water", LONG])["labels"].to_pylist() for spec in (windowed, plain)
    )
    assert [x["label"] for x in first[0]] == [x["label"] for x in second[0]]
    assert first[0][0]["score"] == pytest.approx(second[0][0]["score"], abs=1e-6)
    assert sum(item["score"] for item in first[1]) == pytest.approx(1, abs=1e-5)
    assert first[1] != second[1]
