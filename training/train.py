"""Train the demo's classifier: from a docstring to its section of the Library Reference.

    python training/train.py [--output DIR] [--split text|module]

The corpus is too small for a DistilBERT of two layers to learn the meaning of words from random weights. So
its word vectors are initialized from statistics of the training texts: which words are near each other (the
leading singular vectors of positive pointwise mutual information, Levy & Goldberg 2014), and the weights of a
linear model of sections.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from tokenizers import Tokenizer
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from batching import batches, encode, pad
from corpusmill.jobs.demo.corpus import collect
from corpusmill.jobs.demo.document import Document
from optimization import optimizer_with_schedule
from sections import SECTIONS, section_of
from split import falls_below, is_held_out
from word_vectors import cooccurrence_vectors, section_vectors
from wordpiece import DEMO, MASK, PAD, SPECIAL_TOKENS, save_tokenizer, train_tokenizer

LABELS = list(SECTIONS)


@dataclass(frozen=True)
class Recipe:
    """The settings that decide the weights, besides the corpus."""

    seed: int = 0
    vocabulary: int = 4000
    width: int = 96
    layers: int = 2
    inner_width: int = 192
    positions: int = 256
    training_tokens: int = 128  # a text's first tokens while training; evaluation reads `positions`
    batch_tokens: int = 2048
    epochs: int = 15
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.1
    masked_words: float = 0.3
    label_smoothing: float = 0.05
    initializer_range: float = 0.1  # 0.02 is for a width of 768; narrow layers need more to start moving
    embedding_scale: float = 0.1
    neighbours: int = 5
    linear_strength: float = 2.0  # inverse regularization of the linear model behind the word vectors


@dataclass(frozen=True)
class CorpusSplit:
    """A split corpus; `texts` are all texts for training: those of `train` and those without a section."""

    texts: list[str]
    train: list[Document]
    held_out: list[Document]


def split_corpus(by: str) -> CorpusSplit:
    """Return the split by `text`, single documents, or by `module`, all texts of some modules (harder)."""
    hold: Callable[[Document], bool] = {
        "text": lambda document: is_held_out(document.text),
        "module": lambda document: falls_below(document.module),
    }[by]
    documents = list(collect())
    labelled = [document for document in documents if section_of(document.module)]
    return CorpusSplit(
        texts=[document.text for document in documents if not hold(document)],
        train=[document for document in labelled if not hold(document)],
        held_out=[document for document in labelled if hold(document)],
    )


def targets(documents: list[Document]) -> np.ndarray:
    return np.array([LABELS.index(section_of(document.module) or "") for document in documents])


def build_model(word_vectors: np.ndarray, recipe: Recipe) -> DistilBertForSequenceClassification:
    config = DistilBertConfig(
        vocab_size=recipe.vocabulary,
        dim=recipe.width,
        n_layers=recipe.layers,
        n_heads=4,
        hidden_dim=recipe.inner_width,
        max_position_embeddings=recipe.positions,
        dropout=recipe.dropout,
        attention_dropout=0.0,
        initializer_range=recipe.initializer_range,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        problem_type="single_label_classification",
        pad_token_id=PAD,
    )
    model = DistilBertForSequenceClassification(config)
    weights = torch.from_numpy(word_vectors * recipe.embedding_scale).float()
    model.distilbert.embeddings.word_embeddings.weight.data.copy_(weights)
    return model


def mask_words(input_ids: torch.Tensor, share: float) -> torch.Tensor:
    """Mask words at random, so that the model does not rely on single words."""
    masked = (torch.rand(input_ids.shape) < share) & (input_ids >= len(SPECIAL_TOKENS))
    return input_ids.masked_fill(masked, MASK)


def train(
    model: DistilBertForSequenceClassification, ids: list[torch.Tensor], labels: torch.Tensor, recipe: Recipe
) -> None:
    steps = recipe.epochs * sum(1 for _ in batches(ids, tokens=recipe.batch_tokens, shuffle=False))
    optimizer, schedule = optimizer_with_schedule(
        model, steps=steps, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    model.train()
    for epoch in range(recipe.epochs):
        total = 0.0
        for indices in batches(ids, tokens=recipe.batch_tokens, shuffle=True):
            input_ids = pad(ids, indices)
            attended = (input_ids != PAD).long()
            logits = model(mask_words(input_ids, recipe.masked_words), attention_mask=attended).logits
            loss = F.cross_entropy(logits, labels[indices], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(indices)
        print(f"epoch {epoch + 1}/{recipe.epochs}: loss {total / len(ids):.3f}", file=sys.stderr)


@torch.inference_mode()
def predict(model: DistilBertForSequenceClassification, ids: list[torch.Tensor]) -> np.ndarray:
    model.eval()
    predicted = torch.empty(len(ids), dtype=torch.long)
    for indices in batches(ids, tokens=16384, shuffle=False):
        input_ids = pad(ids, indices)
        predicted[indices] = model(input_ids, attention_mask=(input_ids != PAD).long()).logits.argmax(-1)
    return predicted.numpy()


def linear_baseline(split: CorpusSplit) -> np.ndarray:
    """Return the predictions of a linear model of words and pairs of words, the baseline."""
    linear = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=30, max_iter=300)
    )
    linear.fit([document.text for document in split.train], targets(split.train))
    predicted: np.ndarray = linear.predict([document.text for document in split.held_out])
    return predicted


def scores(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    macro = f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    return {"accuracy": round(float(np.mean(predicted == truth)), 4), "macro_f1": round(float(macro), 4)}


def run(split: CorpusSplit, recipe: Recipe) -> tuple[Tokenizer, DistilBertForSequenceClassification]:
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(split.texts, vocabulary=recipe.vocabulary, lowercase=True)
    all_ids = encode(tokenizer, split.texts, length=recipe.training_tokens)
    ids = encode(tokenizer, [document.text for document in split.train], length=recipe.training_tokens)
    labels = targets(split.train)
    sections = section_vectors(ids, labels, vocabulary=recipe.vocabulary, strength=recipe.linear_strength)
    company = cooccurrence_vectors(
        all_ids,
        vocabulary=recipe.vocabulary,
        width=recipe.width - len(LABELS),
        reach=recipe.neighbours,
    )
    model = build_model(np.hstack([sections, company]), recipe)
    train(model, ids, torch.from_numpy(labels), recipe)
    return tokenizer, model


def measure(
    split: CorpusSplit, recipe: Recipe, predicted: np.ndarray, *, seconds: float
) -> dict[str, object]:
    truth = targets(split.held_out)
    majority = np.full_like(truth, np.bincount(targets(split.train)).argmax())
    libraries = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy")
    return {
        "model": scores(predicted, truth),
        "linear_baseline": scores(linear_baseline(split), truth),
        "majority_baseline": scores(majority, truth),
        "documents": {"train": len(split.train), "held_out": len(split.held_out), "texts": len(split.texts)},
        "seconds": round(seconds),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in libraries},
        "recipe": asdict(recipe),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=DEMO / "stdlib-sections")
    parser.add_argument("--split", choices=["text", "module"], default="text")
    options = parser.parse_args()
    torch.set_num_threads(2)
    recipe, split, start = Recipe(), split_corpus(options.split), time.monotonic()
    tokenizer, model = run(split, recipe)
    seconds = time.monotonic() - start
    ids = encode(tokenizer, [document.text for document in split.held_out], length=recipe.positions)
    metrics = measure(split, recipe, predict(model, ids), seconds=seconds)
    model.save_pretrained(options.output)
    save_tokenizer(tokenizer, options.output, of="DistilBertTokenizer", max_length=recipe.positions)
    (options.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
