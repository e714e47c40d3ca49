"""Losses are those of transformers' heads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models import InputError, PackedTokens, load_model
from corpusmill.models.architectures import ARCHITECTURES
from corpusmill.models.heads import HEADS

Checkpoints = Callable[[str, str], Path]
SAME_LENGTH = [[2, 90, 91, 92, 300, 3], [2, 40, 41, 42, 43, 3], [2, 7, 8, 9, 10, 3]]
CELLS = [
    (name, task)
    for name, spec in ARCHITECTURES.items()
    for task, head in HEADS.items()
    if head.targets and task not in spec.lacks
]
WORDS = torch.tensor([[-100, 90, -100, 92, 5, -100], [-100] * 6, [1, 2, 3, 4, 5, 6]])
TARGETS: dict[str, dict[str, torch.Tensor]] = {
    "text-classification": {"labels": torch.tensor([2, 0, 1])},
    "token-classification": {"labels": WORDS.clamp(-100, 2)},
    "fill-mask": {"labels": WORDS},
    "multiple-choice": {"labels": torch.tensor([1])},
    "next-sentence-prediction": {"labels": torch.tensor([1, 0, 1])},
    "pretraining": {"labels": WORDS, "next_sentence_label": torch.tensor([1, 0, 1])},
    "question-answering": {
        "start_positions": torch.tensor([0, 99, 2]),
        "end_positions": torch.tensor([5, -4, 3]),
    },
}


@pytest.mark.parametrize(("architecture", "task"), CELLS)
def test_losses_match_transformers(
    checkpoints: Checkpoints, reference: Any, architecture: str, task: str
) -> None:
    """One batch of one length, which transformers can take without padding."""
    model = load_model(checkpoints(architecture, task), task)
    targets = TARGETS[task]
    ids = torch.tensor(SAME_LENGTH)
    choices = {"num_choices": 3} if task == "multiple-choice" else {}
    flat = {name: value.flatten() if value.ndim == 2 else value for name, value in targets.items()}
    ours = model(PackedTokens.from_sequences(SAME_LENGTH), **flat, **choices).loss
    with torch.inference_mode():
        theirs = reference(model.checkpoint).model(input_ids=ids[None] if choices else ids, **targets).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("problem_type", "labels", "targets"),
    [
        ("regression", 1, torch.tensor([0.5, -2.0, 3.0])),
        ("regression", 2, torch.tensor([[0.5, 1.0], [-2.0, 0.0], [3.0, 0.1]])),
        ("multi_label_classification", 3, torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]])),
        ("single_label_classification", 3, torch.tensor([2, -100, 1])),
        (None, 1, torch.tensor([0.5, -2.0, 3.0])),
        (None, 3, torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]])),
        (None, 3, torch.tensor([2, 0, 1])),
    ],
)
def test_the_problem_type_decides_the_loss(
    tmp_path: Path, reference: Any, problem_type: str | None, labels: int, targets: torch.Tensor
) -> None:
    """And where there is none, the number of labels and their dtype."""
    names = [f"l{index}" for index in range(labels)]
    write_checkpoint(tmp_path, "bert", "text-classification", labels=names, problem_type=problem_type)
    model = load_model(tmp_path)
    ours = model(PackedTokens.from_sequences(SAME_LENGTH), labels=targets).loss
    with torch.inference_mode():
        theirs = reference(model.checkpoint).model(input_ids=torch.tensor(SAME_LENGTH), labels=targets).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_an_answer_is_sought_in_its_own_sequence(checkpoints: Checkpoints, reference: Any) -> None:
    """The mean over sequences of what each gives alone, but for those whose answer lies beyond their end."""
    model = load_model(checkpoints("bert", "question-answering"))
    alone = reference(model.checkpoint)
    sequences = [[2, 90, 91, 3], [2, 40, 3], [2, *range(100, 125), 3]]
    starts, ends = torch.tensor([1, 2, 20]), torch.tensor([2, 2, 26])
    wanted = [
        alone(ids, start_positions=starts[index, None], end_positions=ends[index, None]).loss
        for index, ids in enumerate(sequences)
    ]
    packed = PackedTokens.from_sequences(sequences)
    ours = model(packed, start_positions=starts, end_positions=ends).loss
    torch.testing.assert_close(ours, torch.stack(wanted).mean(), rtol=1e-5, atol=1e-6)
    beyond = torch.tensor([1, 2, 99])
    ours = model(packed, start_positions=beyond, end_positions=beyond).loss
    pairs = [
        alone(ids, start_positions=beyond[i, None], end_positions=beyond[i, None]).loss
        for i, ids in enumerate(sequences[:2])
    ]
    torch.testing.assert_close(ours, torch.stack(pairs).mean(), rtol=1e-5, atol=1e-6)


def test_labels_of_another_shape_are_refused(checkpoints: Checkpoints) -> None:
    """Not broadcast."""
    model = load_model(checkpoints("bert", "text-classification"))
    with pytest.raises(InputError, match=r"labels: expected shape \(3, 3\), got \(3, 2\)"):
        model(PackedTokens.from_sequences(SAME_LENGTH), labels=torch.zeros(3, 2))
    with pytest.raises(InputError, match=r"labels: expected shape \(3,\), got \(2,\)"):
        model(PackedTokens.from_sequences(SAME_LENGTH), labels=torch.tensor([0, 1]))
