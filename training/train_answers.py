"""Trains the demo's small reader: where a docstring answers a question, or that it does not.

    python training/train_answers.py [--output DIR]

The pre-trained BERT (train_words.py) with a question-answering head. Questions and answers are those of
written rules (questions.py), each kind in three wordings. Half of what it reads has no answer: then start
and end are at [CLS], as in SQuAD 2.
"""

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import BertForQuestionAnswering

from answer_scores import answer_scores
from bert import DEMO, Batch, Example, Training, demo_tokenizer, fit, pretrained, save, seed
from held_out import split_texts, write_metrics
from questions import RULES, WORDINGS, Answer, answer_of


@dataclass(frozen=True)
class Recipe(Training):
    """All that decides the weights, besides the corpus and the pre-trained ones."""

    epochs: int = 14
    length: int = 128
    most_of_a_kind: int = 700  # answers in an epoch


def epoch_examples(
    tokenizer: Tokenizer,
    answers: dict[str, list[tuple[str, Answer | None]]],
    recipe: Recipe,
    chance: random.Random,
) -> list[Example]:
    """Of each kind some texts with an answer, and as many without."""
    return [
        example
        for kind, known in answers.items()
        for answered in (True, False)
        for example in _of_a_kind(
            tokenizer,
            kind,
            [(text, answer) for text, answer in known if (answer is not None) == answered],
            most=min(recipe.most_of_a_kind, sum(answer is not None for _, answer in known)),
            chance=chance,
        )
    ]


def _of_a_kind(
    tokenizer: Tokenizer,
    kind: str,
    known: list[tuple[str, Answer | None]],
    *,
    most: int,
    chance: random.Random,
) -> Iterator[Example]:
    chosen = chance.sample(known, min(most, len(known)))
    encodings = tokenizer.encode_batch([(chance.choice(WORDINGS[kind]), text) for text, _ in chosen])
    for encoding, (_, answer) in zip(encodings, chosen, strict=True):
        first = last = 0
        if answer is not None:
            first = encoding.char_to_token(answer.start, 1)
            last = encoding.char_to_token(answer.end - 1, 1)
        if first is not None and last is not None:  # else the answer was cut off
            yield Example([encoding], (first, last))


def loss_of(model: BertForQuestionAnswering, batch: Batch) -> torch.Tensor:
    """Start and end compete over the text's tokens and [CLS], as they do in a job."""
    output = model(**batch.inputs)
    eligible = (batch.token_type_ids == 1).index_fill(1, torch.tensor(0), True)
    start, end = (x.masked_fill(~eligible, -1e4) for x in (output.start_logits, output.end_logits))
    first, last = batch.targets.unbind(-1)
    return F.cross_entropy(start, first) + F.cross_entropy(end, last)


def train(texts: list[str], recipe: Recipe) -> Any:
    chance = seed(recipe.seed)
    tokenizer = demo_tokenizer(recipe.length, cut="only_second")
    answers = {kind: [(text, answer_of(text, kind)) for text in texts] for kind in RULES}
    model = pretrained(BertForQuestionAnswering)
    fit(model, lambda: epoch_examples(tokenizer, answers, recipe, chance), loss_of, recipe)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=DEMO / "stdlib-answers")
    folder, recipe = parser.parse_args().output, Recipe()
    known, held_out = split_texts()
    start = time.process_time()
    model = train(known, recipe)
    seconds = time.process_time() - start
    save(model, folder)
    write_metrics(folder, answer_scores(folder, known, held_out), recipe=asdict(recipe), seconds=seconds)


if __name__ == "__main__":
    main()
