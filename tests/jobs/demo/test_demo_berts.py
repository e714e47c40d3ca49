"""The small BERTs of the tasks' pages: load as any Hugging Face checkpoint, as good as their cards say."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer

from answer_scores import answer_scores
from corpusmill.models import load_model
from held_out import split_texts
from questions import QUESTIONS, RULES, answer_of
from sentences import neighbours, sentences
from topics import Topic, split_topics, unseen
from train_choices import choice_scores
from train_topics import topic_scores
from word_scores import mask_scores, next_sentence_scores, sparse_scores

DEMO = Path(__file__).parents[3] / "configs" / "demo"
BERTS = ("stdlib-words", "stdlib-answers", "stdlib-choices", "stdlib-topics")


def metrics_of(name: str) -> dict[str, Any]:
    """Return the figures measured after the training."""
    return json.loads((DEMO / name / "metrics.json").read_text(encoding="utf-8"))


def figures(metrics: Any) -> Iterator[float]:
    """Return every share in a model's metrics, without counts and recipe."""
    for name, value in metrics.items():
        if isinstance(value, dict) and name not in ("recipe", "libraries"):
            yield from figures(value)
        elif isinstance(value, float) and 0 < value < 1:
            yield value


@pytest.mark.parametrize("name", BERTS)
def test_the_weights_are_small_enough_to_ship(name: str) -> None:
    """Under 1.3 MB each, so that all of them are about five."""
    assert (DEMO / name / "model.safetensors").stat().st_size < 1_300_000


@pytest.mark.parametrize("name", BERTS)
def test_a_small_bert_loads_whole_here_and_in_the_reference(name: str) -> None:
    """No tensor is missing, none is left over."""
    assert load_model(DEMO / name)
    kind = getattr(transformers, json.loads((DEMO / name / "config.json").read_text())["architectures"][0])
    _, loaded = kind.from_pretrained(DEMO / name, output_loading_info=True)
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]


@pytest.mark.parametrize("name", BERTS)
def test_a_small_bert_has_the_sections_vocabulary(name: str) -> None:
    """It was made from the training texts, without the held-out ones."""
    ours, sections = (
        Tokenizer.from_file(str(DEMO / x / "tokenizer.json")) for x in (name, "stdlib-sections")
    )
    assert ours.get_vocab() == sections.get_vocab()


@pytest.mark.parametrize("name", BERTS)
def test_a_card_has_every_measured_figure(name: str) -> None:
    """The README has each share of metrics.json, to three places."""
    card = (DEMO / name / "README.md").read_text(encoding="utf-8")
    shares = list(figures(metrics_of(name)))
    assert shares
    assert [value for value in shares if f"{value:.3f}" not in card] == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", BERTS)
def test_the_recorded_figures_are_reproduced(name: str) -> None:
    """Within two points on the Python it was trained on; elsewhere the corpus differs."""
    metrics = metrics_of(name)
    if metrics["python"].rpartition(".")[0] != f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip("another Python has another standard library")
    recorded = {key: value for key, value in metrics.items() if isinstance(value, dict | float)}
    for found in list(figures(measured(name))), list(figures(recorded)):
        assert found == pytest.approx(list(figures(recorded)), abs=0.02)


def measured(name: str) -> dict[str, Any]:
    """Return a model's figures, measured now."""
    folder, (known, held_out) = DEMO / name, split_texts()
    if name == "stdlib-words":
        return {
            "fill_mask": mask_scores(folder, known, held_out),
            "next_sentence": next_sentence_scores(folder, known, held_out),
            "sparse": sparse_scores(folder, known),
        }
    if name == "stdlib-topics":
        return topic_scores(folder, *split_topics())
    return (answer_scores if name == "stdlib-answers" else choice_scores)(folder, known, held_out)


def test_sentences_are_prose() -> None:
    """Examples and headings are left out; a line break does not end a sentence."""
    text = "Return the\nname. It may be None.\n\n>>> f(1)\n2\n\nNotes\n\n----"
    assert sentences(text) == ["Return the name.", "It may be None."]
    assert neighbours([text, text]) == [("Return the name.", "It may be None.")]


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        pytest.param(
            "exception", "Close it. If it is open, a KeyError is raised.", "KeyError", marks=pytest.mark.slow
        ),
        pytest.param("exception", "Handle a KeyError. Nothing else.", None, marks=pytest.mark.slow),
        ("return", "Return the first item of a list, if any.", "the first item of a list"),
        ("return", "Returns a name for the file.", "a name"),
        ("default", "The mode defaults to 'r'.", "r"),
        ("default", "Use UTC (the default) or local time.", "UTC"),
        ("reference", "As in PEP 8.", "PEP 8"),
        ("version", "New in Python 3.11.", "3.11"),
    ],
)
def test_rules_find_answers(kind: str, text: str, answer: str | None) -> None:
    """The first answer, without quotes and further clauses."""
    found = answer_of(text, kind)
    assert (found and text[found.start : found.end]) == answer


def test_every_kind_of_question_has_its_wordings() -> None:
    """Several, all distinct."""
    assert QUESTIONS.keys() == RULES.keys()
    assert len({wording for wordings in QUESTIONS.values() for wording in wordings}) == 3 * len(QUESTIONS)


def test_a_keyword_is_taken_out_of_the_text() -> None:
    """As a word, in any case; some keywords are held out of training."""
    topic = Topic(text="Lock the lock, not the block.", section="x", module="y", keyword="lock")
    assert topic.without_keyword() == "it the it, not the block."
    assert {unseen(f"word{i}") for i in range(100)} == {True, False}
