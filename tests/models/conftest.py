"""Checkpoints shared by the models' tests, and what transformers gives for one sequence alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.tiny_checkpoints import CLASS_PREFIXES, CLASS_SUFFIXES, write_checkpoint

from corpusmill.models import Checkpoint

Reference = Callable[..., Any]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A checkpoint for an architecture and a task, written once."""
    written: dict[tuple[str, str], Path] = {}

    def checkpoint(architecture: str, task: str) -> Path:
        if (architecture, task) not in written:
            folder = tmp_path_factory.mktemp(f"{architecture}-{task}")
            written[architecture, task] = write_checkpoint(folder, architecture, task, labels=("a", "b", "c"))
        return written[architecture, task]

    return checkpoint


@pytest.fixture(scope="session")
def reference() -> Callable[[Checkpoint], Reference]:
    """transformers' model of a checkpoint, called with the ids (and types) of one sequence."""

    def load(checkpoint: Checkpoint) -> Reference:
        name = CLASS_PREFIXES[checkpoint.model_type] + CLASS_SUFFIXES[checkpoint.task]
        model = (
            getattr(transformers, name).from_pretrained(checkpoint.folder, attn_implementation="eager").eval()
        )

        @torch.inference_mode()
        def alone(ids: list[int], types: list[int] | None = None) -> Any:
            typed = {} if types is None else {"token_type_ids": torch.tensor([types])}
            return model(
                input_ids=torch.tensor([ids]), output_hidden_states=True, output_attentions=True, **typed
            )

        return alone

    return load


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny products on several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
