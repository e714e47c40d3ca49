"""Train the demo's small entailment model: whether a docstring is about the topic of a hypothesis.

    python training/train_topics.py [--output DIR]

The pre-trained BERT (train_words.py); its head starts as the next-sentence head, "follows" for entailment.
A text entails "This example is about ..." with its own section, module or keyword (topics.py), and
contradicts it with one of a text of another section.
"""

import argparse
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import BertForPreTraining, BertForSequenceClassification

from bert import DEMO, Batch, Example, Training, demo_tokenizer, fit, pretrained, save, seed
from held_out import job_output, write_metrics
from topics import LABELS, TEMPLATE, Topic, split_topics, unseen

VERDICTS = ("entailment", "contradiction")
CANDIDATES = 5


@dataclass(frozen=True)
class Recipe(Training):
    """The settings that decide the weights, besides the corpus and the pre-trained weights."""

    epochs: int = 6
    sections: float = 0.5  # of the hypotheses; the others are modules and keywords, one as often as the other


def epoch_examples(
    tokenizer: Tokenizer, topics: list[Topic], recipe: Recipe, rng: random.Random
) -> list[Example]:
    """Return each text twice: with a topic of its own and with one of another section."""
    pairs: list[tuple[str, str]] = []
    for topic in topics:
        other = rng.choice(topics)
        while other.section == topic.section:
            other = rng.choice(topics)
        kind = "section" if rng.random() < recipe.sections else rng.choice(("module", "keyword"))
        text = topic.without_keyword() if kind == "keyword" else topic.text
        pairs += [(text, TEMPLATE.format(_subject(of, kind))) for of in (topic, other)]
    encodings = tokenizer.encode_batch(pairs)
    return [Example([encoding], (i % 2,)) for i, encoding in enumerate(encodings)]


def _subject(topic: Topic, kind: str) -> str:
    """Return the topic of this kind, or the section if it is missing or held out."""
    subject: str | None = getattr(topic, kind)
    return topic.section if subject is None or unseen(subject) else subject


def loss_of(model: BertForSequenceClassification, batch: Batch) -> torch.Tensor:
    return F.cross_entropy(model(**batch.inputs).logits, batch.targets[:, 0])


def train(topics: list[Topic], recipe: Recipe) -> Any:
    rng = seed(recipe.seed)
    tokenizer = demo_tokenizer(recipe.length, cut="only_first")
    names = dict(enumerate(VERDICTS))
    model = pretrained(
        BertForSequenceClassification, id2label=names, label2id={name: i for i, name in names.items()}
    )
    model.classifier.load_state_dict(pretrained(BertForPreTraining).cls.seq_relationship.state_dict())
    fit(model, lambda: epoch_examples(tokenizer, topics, recipe, rng), loss_of, recipe)
    return model


def topic_scores(folder: Path, known: list[Topic], held_out: list[Topic]) -> dict[str, Any]:
    """Return the accuracy among all sections, and among five held-out keywords, removed from the text."""
    found = _best(folder, [topic.text for topic in held_out], LABELS)
    largest = max(LABELS, key=lambda label: sum(topic.section == label for topic in known))
    return {
        "sections": {
            "documents": len(held_out),
            "accuracy": _share(a == topic.section for a, topic in zip(found, held_out, strict=True)),
            "largest_section": _share(topic.section == largest for topic in held_out),
        },
        "unseen_keywords": _keyword_scores(folder, held_out),
    }


def _keyword_scores(folder: Path, held_out: list[Topic]) -> dict[str, Any]:
    asked = [topic for topic in held_out if topic.keyword and unseen(topic.keyword)]
    keywords = sorted({topic.keyword for topic in asked if topic.keyword})
    scores = _scores(folder, [topic.without_keyword() for topic in asked], keywords)
    rng, right = random.Random(0), []
    for topic, score in zip(asked, scores, strict=True):
        others = rng.sample([word for word in keywords if word != topic.keyword], CANDIDATES - 1)
        right.append(all(score[topic.keyword or ""] > score[word] for word in others))
    return {
        "documents": len(asked),
        "keywords": len(keywords),
        "accuracy": _share(right),
        "chance": 1 / CANDIDATES,
    }


def _best(folder: Path, texts: list[str], labels: list[str]) -> list[str]:
    return [max(scores, key=lambda label: scores[label]) for scores in _scores(folder, texts, labels)]


def _scores(folder: Path, texts: list[str], labels: list[str]) -> list[dict[str, float]]:
    table = job_output(
        folder,
        [{"text": text} for text in texts],
        task="zero-shot-classification",
        dtype="float32",
        candidate_labels=labels,
        hypothesis_template=TEMPLATE,
    )
    return [{label["label"]: label["score"] for label in row} for row in table["labels"].to_pylist()]


def _share(right: Any) -> float:
    found = list(right)
    return round(sum(found) / len(found), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=DEMO / "stdlib-topics")
    folder, recipe = parser.parse_args().output, Recipe()
    known, held_out = split_topics()
    start = time.process_time()
    model = train(known, recipe)
    seconds = time.process_time() - start
    save(model, folder)
    write_metrics(folder, topic_scores(folder, known, held_out), recipe=asdict(recipe), seconds=seconds)


if __name__ == "__main__":
    main()
