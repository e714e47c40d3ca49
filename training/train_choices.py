"""Train the demo's small multiple-choice model: which of four sentences comes next in a docstring.

    python training/train_choices.py [--output DIR]

The pre-trained BERT (train_words.py); its choice head begins as the difference of the two scores of its
next-sentence head. The wrong choices are second sentences of other texts.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer
from transformers import BertForMultipleChoice, BertForPreTraining

from bert import DEMO, Batch, Example, Training, demo_tokenizer, fit, pretrained, save, seed
from held_out import job_output, split_texts, write_metrics
from sentences import Neighbours, neighbours, other_seconds

CHOICES = 4


@dataclass(frozen=True)
class Recipe(Training):
    """The settings that decide the weights, besides the corpus and the pre-trained weights."""

    epochs: int = 5


def questions(
    pairs: Sequence[Neighbours], rng: random.Random
) -> list[tuple[Neighbours, tuple[str, ...], int]]:
    """Return each pair with its choices and the index of the right one."""
    found = []
    for pair in pairs:
        choices = other_seconds(pair, pairs, CHOICES - 1, rng)
        right = rng.randrange(CHOICES)
        choices.insert(right, pair.second)
        found.append((pair, tuple(choices), right))
    return found


def epoch_examples(tokenizer: Tokenizer, pairs: Sequence[Neighbours], rng: random.Random) -> list[Example]:
    asked = questions(pairs, rng)
    encodings = tokenizer.encode_batch(
        [(pair.first, choice) for pair, choices, _ in asked for choice in choices]
    )
    return [
        Example(encodings[CHOICES * i : CHOICES * (i + 1)], (right,)) for i, (*_, right) in enumerate(asked)
    ]


def loss_of(model: BertForMultipleChoice, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy over the choices of each question."""
    inputs = {name: x.unflatten(0, (-1, CHOICES)) for name, x in batch.inputs.items()}
    return F.cross_entropy(model(**inputs).logits, batch.targets[:, 0])


def train(texts: list[str], recipe: Recipe) -> Any:
    rng = seed(recipe.seed)
    tokenizer, pairs = demo_tokenizer(recipe.length), neighbours(texts)
    model = pretrained(BertForMultipleChoice)
    follows = pretrained(BertForPreTraining).cls.seq_relationship
    model.classifier.weight.data.copy_(follows.weight[:1] - follows.weight[1:])
    model.classifier.bias.data.copy_(follows.bias[:1] - follows.bias[1:])
    fit(model, lambda: epoch_examples(tokenizer, pairs, rng), loss_of, recipe)
    return model


def choice_scores(folder: Path, known: list[str], held_out: list[str]) -> dict[str, Any]:
    """Return the accuracy on held-out texts, and that of the choice with the most words in common."""
    asked = questions(neighbours(held_out), random.Random(0))
    rows = [{"text": pair.first, "choices": list(choices)} for pair, choices, _ in asked]
    chosen = job_output(folder, rows, task="multiple-choice", dtype="float32", text_pair="choices")["choice"]
    truth = np.array([right for *_, right in asked])
    words = TfidfVectorizer(sublinear_tf=True).fit(known)
    first = words.transform([pair.first for pair, *_ in asked])
    similar = np.array(
        [
            first.multiply(words.transform([choices[i] for _, choices, _ in asked])).sum(axis=1).A1
            for i in range(CHOICES)
        ]
    )
    return {
        "questions": len(asked),
        "accuracy": round(float(np.mean(np.array(chosen.to_pylist()) == truth)), 4),
        "common_words": round(float(np.mean(similar.argmax(axis=0) == truth)), 4),
        "chance": 1 / CHOICES,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=DEMO / "stdlib-choices")
    folder, recipe = parser.parse_args().output, Recipe()
    known, held_out = split_texts()
    start = time.process_time()
    model = train(known, recipe)
    seconds = time.process_time() - start
    save(model, folder)
    write_metrics(folder, choice_scores(folder, known, held_out), recipe=asdict(recipe), seconds=seconds)


if __name__ == "__main__":
    main()
