"""Train the demo's small question-answering model: the answer's span in a docstring, or none.

    python training/train_answers.py [--output DIR]

The pre-trained BERT (train_words.py) with a question-answering head. Rules find the answers (questions.py);
each kind of question has three wordings. Half of the examples have no answer: start and end are at [CLS], as
in SQuAD 2.
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
from questions import QUESTIONS, RULES, AnswerSpan, answer_of


@dataclass(frozen=True)
class Recipe(Training):
    """The settings that decide the weights, besides the corpus and the pre-trained weights."""

    epochs: int = 14
    length: int = 128
    most_of_a_kind: int = 700  # answers in an epoch


def epoch_examples(
    tokenizer: Tokenizer,
    answers: dict[str, list[tuple[str, AnswerSpan | None]]],
    recipe: Recipe,
    rng: random.Random,
) -> list[Example]:
    """Return, of each kind, some texts with an answer and as many without."""
    return [
        example
        for kind, known in answers.items()
        for answered in (True, False)
        for example in _of_a_kind(
            tokenizer,
            kind,
            [(text, answer) for text, answer in known if (answer is not None) == answered],
            most=min(recipe.most_of_a_kind, sum(answer is not None for _, answer in known)),
            rng=rng,
        )
    ]


def _of_a_kind(
    tokenizer: Tokenizer,
    kind: str,
    known: list[tuple[str, AnswerSpan | None]],
    *,
    most: int,
    rng: random.Random,
) -> Iterator[Example]:
    chosen = rng.sample(known, min(most, len(known)))
    encodings = tokenizer.encode_batch([(rng.choice(QUESTIONS[kind]), text) for text, _ in chosen])
    for encoding, (_, answer) in zip(encodings, chosen, strict=True):
        first = last = 0
        if answer is not None:
            first = encoding.char_to_token(answer.start, 1)
            last = encoding.char_to_token(answer.end - 1, 1)
        if first is not None and last is not None:  # else the answer was cut off
            yield Example([encoding], (first, last))


def loss_of(model: BertForQuestionAnswering, batch: Batch) -> torch.Tensor:
    """Return the loss of start and end over the text's tokens and [CLS], as in a job."""
    output = model(**batch.inputs)
    eligible = (batch.token_type_ids == 1).index_fill(1, torch.tensor(0), True)
    start, end = (x.masked_fill(~eligible, -1e4) for x in (output.start_logits, output.end_logits))
    first, last = batch.targets.unbind(-1)
    return F.cross_entropy(start, first) + F.cross_entropy(end, last)


def train(texts: list[str], recipe: Recipe) -> Any:
    rng = seed(recipe.seed)
    tokenizer = demo_tokenizer(recipe.length, cut="only_second")
    answers = {kind: [(text, answer_of(text, kind)) for text in texts] for kind in RULES}
    model = pretrained(BertForQuestionAnswering)
    fit(model, lambda: epoch_examples(tokenizer, answers, recipe, rng), loss_of, recipe)
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
