"""The shared training code of the small BERTs: batches of pairs, the training loop, and saving."""

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Encoding, Tokenizer

from batching import batches, pad
from optimization import optimizer_with_schedule
from wordpiece import DEMO, PAD, save_tokenizer

VOCABULARY_OF = DEMO / "stdlib-sections"
"""The checkpoint whose tokenizer the BERTs use too; it was trained on the same texts."""
PRETRAINED = DEMO / "stdlib-words"
POSITIONS = 256


class Example(NamedTuple):
    """Sequences that are scored together (one, or a question's choices), and their target."""

    sequences: Sequence[Encoding]
    target: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """(S, T) token ids and types of S sequences with padding, and (N, K) numbers of N examples."""

    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    targets: torch.Tensor

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """The inputs of a BERT in transformers."""
        return {
            "input_ids": self.input_ids,
            "token_type_ids": self.token_type_ids,
            "attention_mask": (self.input_ids != PAD).long(),
        }


@dataclass(frozen=True)
class Training:
    """The settings of all trainings; a model's own recipe adds what else decides its weights."""

    seed: int = 0
    epochs: int = 10
    batch_tokens: int = 2048
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    length: int = 96  # tokens of a sequence while training; jobs read all positions


Loss = Callable[[Any, Batch], torch.Tensor]


def demo_tokenizer(length: int, *, cut: str = "longest_first") -> Tokenizer:
    """Return the tokenizer; it truncates the longer text of a pair, or the one that `cut` names."""
    tokenizer = Tokenizer.from_file(str(VOCABULARY_OF / "tokenizer.json"))
    tokenizer.enable_truncation(length, strategy=cut)
    return tokenizer


def fit(model: Any, examples: Callable[[], list[Example]], loss_of: Loss, training: Training) -> None:
    """Train a model; `examples` returns the examples of each epoch."""
    model.train()
    groups = _batches(examples(), tokens=training.batch_tokens)
    optimizer, schedule = optimizer_with_schedule(
        model,
        steps=training.epochs * len(groups),
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
    )
    for epoch in range(training.epochs):
        if epoch > 0:  # the first epoch's batches are made above, for the number of steps
            groups = _batches(examples(), tokens=training.batch_tokens)
        losses = []
        for batch in groups:
            loss = loss_of(model, batch)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        print(f"epoch {epoch + 1}/{training.epochs}: loss {mean:.3f}", file=sys.stderr, flush=True)
    model.eval()


def _batches(examples: list[Example], *, tokens: int) -> list[Batch]:
    """Return batches of examples of similar length; a group of choices counts as padded to its longest."""
    sizes = [max(len(x.ids) for x in choices) * len(choices) for choices, _ in examples]
    shapes = [torch.empty(size) for size in sizes]
    return [_batch([examples[i] for i in group]) for group in batches(shapes, tokens=tokens, shuffle=True)]


def _batch(examples: list[Example]) -> Batch:
    encodings = [encoding for example in examples for encoding in example.sequences]
    everything = torch.arange(len(encodings))
    return Batch(
        input_ids=pad([torch.tensor(encoding.ids) for encoding in encodings], everything),
        token_type_ids=pad([torch.tensor(encoding.type_ids) for encoding in encodings], everything),
        targets=torch.tensor([example.target for example in examples]),
    )


def pretrained(kind: Any, **settings: Any) -> Any:
    """Return the pre-trained encoder with a new head."""
    return kind.from_pretrained(PRETRAINED, dtype=torch.float32, **settings)


def seed(number: int) -> random.Random:
    """Seed torch and return a random generator for the examples.

    One thread gives sums a fixed order, and more are no faster in a model this small.
    """
    torch.set_num_threads(1)
    torch.manual_seed(number)
    return random.Random(number)


def save(model: Any, folder: Path) -> None:
    """Save a model in 16 bits, in which its figures are measured."""
    model.half().save_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(VOCABULARY_OF / "tokenizer.json"))
    tokenizer.no_truncation()
    save_tokenizer(tokenizer, folder, of="BertTokenizer", max_length=POSITIONS)
