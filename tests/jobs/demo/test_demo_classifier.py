"""The demo's committed classifier: loads as any Hugging Face checkpoint, with the scores of its card."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from corpusmill.jobs.demo.corpus import collect
from sections import SECTIONS, section_of
from split import is_held_out

CHECKPOINT = Path(__file__).parents[3] / "configs" / "demo" / "stdlib-sections"


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return json.loads((CHECKPOINT / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForSequenceClassification.from_pretrained(CHECKPOINT).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(CHECKPOINT)


def test_the_weights_are_small_enough_to_ship() -> None:
    """Under 3 MB."""
    assert (CHECKPOINT / "model.safetensors").stat().st_size < 3_000_000


def test_every_label_is_a_section(model: Any) -> None:
    """Numbered in the table's order, both ways."""
    assert list(model.config.id2label.values()) == list(SECTIONS)
    assert model.config.label2id == {section: index for index, section in enumerate(SECTIONS)}


def test_the_vocabulary_file_is_the_tokenizers(tokenizer: Any) -> None:
    """Readers of vocab.txt and of tokenizer.json see the same ids."""
    tokens = (CHECKPOINT / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert {token: index for index, token in enumerate(tokens)} == tokenizer.get_vocab()
    assert tokenizer("Sockets!")["input_ids"][0] == tokens.index("[CLS]")
    assert tokenizer.model_max_length == 256


def test_the_card_has_the_measured_figures(metrics: dict[str, Any]) -> None:
    """The README has each figure of the table."""
    card = (CHECKPOINT / "README.md").read_text(encoding="utf-8")
    for row in ("model", "linear_baseline", "majority_baseline"):
        assert f"{metrics[row]['accuracy']:.3f} | {metrics[row]['macro_f1']:.3f}" in card


@pytest.mark.slow
def test_the_recorded_accuracy_is_reproduced(model: Any, tokenizer: Any, metrics: dict[str, Any]) -> None:
    """Within a point on the Python it was trained on; elsewhere the corpus differs: above the majority."""
    documents = [document for document in collect() if section_of(document.module)]
    held_out = sorted((d for d in documents if is_held_out(d.text)), key=lambda d: len(d.text))
    truth = [section_of(document.module) for document in held_out]
    predicted = _predict(model, tokenizer, [document.text for document in held_out])
    accuracy = sum(a == b for a, b in zip(truth, predicted, strict=True)) / len(truth)
    if metrics["python"].rpartition(".")[0] == f"{sys.version_info.major}.{sys.version_info.minor}":
        assert accuracy == pytest.approx(metrics["model"]["accuracy"], abs=0.01)
    assert accuracy > metrics["majority_baseline"]["accuracy"]


@torch.inference_mode()
def _predict(model: Any, tokenizer: Any, texts: list[str]) -> list[str]:
    labels = []
    for start in range(0, len(texts), 64):
        batch = tokenizer(texts[start : start + 64], truncation=True, padding=True, return_tensors="pt")
        found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.argmax(-1)
        labels += [model.config.id2label[index] for index in found.tolist()]
    return labels
