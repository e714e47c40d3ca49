"""Scores of the small BERT at its three tasks, and of baselines without a network."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

from corpusmill.jobs.demo.corpus import collect
from held_out import job_output
from sections import section_of
from sentences import Neighbours, neighbours, other_seconds
from split import is_held_out

_WORD = re.compile(r"(?<![\w.*`'\"<-])[a-z]+(?![\w.*`'\"(=>-])")
_WORDS_READ = 100  # of a text, so that the mask lies within the model's positions


def mask_scores(folder: Path, known: list[str], held_out: list[str]) -> dict[str, Any]:
    """Return the accuracy on one masked word per held-out text that is one token of the vocabulary."""
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    masked = list(_masked(held_out, vocabulary))
    rows = [{"text": f"{before}[MASK]{after}"} for before, _, after in masked]
    found = job_output(folder, rows, task="fill-mask", dtype="float32", top_k=5)["predictions"].to_pylist()
    guesses = [[guess["token"] for masks in row for guess in masks] for row in found]
    truth = [word for _, word, _ in masked]
    words, after = _counted(known)
    (commonest, _), *_ = words.most_common(1)
    following = [
        [word for word, _ in (after.get(_last_word(before)) or words).most_common(5)]
        for before, _, _ in masked
    ]
    return {
        "masks": len(truth),
        "model": _ranked(truth, guesses),
        "after_the_word_before": _ranked(truth, following),
        "commonest_word": _share(word == commonest for word in truth),
    }


def _ranked(truth: list[str], guesses: list[list[str]]) -> dict[str, float]:
    return {
        "accuracy_at_1": _share(word in guess[:1] for word, guess in zip(truth, guesses, strict=True)),
        "accuracy_at_5": _share(word in guess[:5] for word, guess in zip(truth, guesses, strict=True)),
    }


def _masked(texts: list[str], vocabulary: dict[str, int]) -> Iterator[tuple[str, str, str]]:
    rng = random.Random(0)
    for text in texts:
        matches = [m for m in list(_WORD.finditer(text))[:_WORDS_READ] if m[0] in vocabulary]
        if matches:
            match = rng.choice(matches)
            yield text[: match.start()], match[0], text[match.end() :]


def _counted(texts: list[str]) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """Return how often each word occurs, in all and after each other word."""
    words = Counter[str]()
    after: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for match in _WORD.finditer(text):
            words[match[0]] += 1
            after[_last_word(text[: match.start()])][match[0]] += 1
    return words, after


def _last_word(text: str) -> str:
    return (text[-40:].lower().split() or [""])[-1]


def next_sentence_scores(folder: Path, known: list[str], held_out: list[str]) -> dict[str, Any]:
    """Return the accuracy on held-out pairs, half of them with a second sentence of another text."""
    pairs, truth = _shown(neighbours(held_out))
    rows = [{"text": first, "other": second} for first, second in pairs]
    found = job_output(folder, rows, task="next-sentence-prediction", dtype="float32", text_pair="other")
    return {
        "pairs": len(truth),
        "accuracy": _share(np.array(found["is_next"].to_pylist()) == truth),
        "common_words": _share(_common_words(known, pairs) == truth),
        "always": _share(truth),
    }


def _shown(pairs: list[Neighbours]) -> tuple[list[Neighbours], np.ndarray]:
    rng = random.Random(0)
    truth = np.array([rng.random() < 0.5 for _ in pairs])
    shown = [
        pair if right else Neighbours(pair.first, *other_seconds(pair, pairs, 1, rng))
        for pair, right in zip(pairs, truth, strict=True)
    ]
    return shown, truth


def _common_words(known: list[str], pairs: list[Neighbours]) -> np.ndarray:
    """Return the baseline's predictions: a threshold on the similarity of TF-IDF vectors."""
    words = TfidfVectorizer(sublinear_tf=True).fit(known)
    shown, truth = _shown(neighbours(known))
    linear = LogisticRegression(C=100).fit(_similarity(words, shown), truth)
    predicted: np.ndarray = linear.predict(_similarity(words, pairs))
    return predicted


def _similarity(words: TfidfVectorizer, pairs: list[Neighbours]) -> np.ndarray:
    first, second = (words.transform(side) for side in zip(*pairs, strict=True))
    return np.asarray(first.multiply(second).sum(-1))


def sparse_scores(folder: Path, known: list[str]) -> dict[str, Any]:
    """Return how often a held-out text's nearest neighbour among the others has the same section."""
    documents = [d for d in collect() if is_held_out(d.text) and section_of(d.module)]
    texts, truth = [d.text for d in documents], np.array([section_of(d.module) for d in documents])
    found = job_output(folder, [{"text": text} for text in texts], task="sparse-embedding", dtype="float32")
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    vectors = np.zeros((len(texts), vocabulary), np.float32)
    for row, words in zip(vectors, found["sparse"].to_pylist(), strict=True):
        row[[word["token_id"] for word in words]] = [word["weight"] for word in words]
    tfidf = TfidfVectorizer(sublinear_tf=True).fit(known).transform(texts).toarray()
    return {
        "documents": len(texts),
        "words_a_text": round(float((vectors > 0).sum(-1).mean()), 1),
        "nearest_of_its_section": _nearest(vectors, truth),
        "tfidf_nearest_of_its_section": _nearest(tfidf, truth),
    }


def _nearest(vectors: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of texts whose nearest neighbour by cosine has the same section."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -1)
    return _share(truth[similar.argmax(-1)] == truth)


def _share(right: Any) -> float:
    return round(float(np.mean(list(right))), 4)
