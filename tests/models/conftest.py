"""Checkpoints shared by the models' tests, and what transformers gives for one sequence alone."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.tiny_checkpoints import CLASS_PREFIXES, CLASS_SUFFIXES, write_checkpoint
from torch import Tensor

from corpusmill.models import Checkpoint, Model, PackedTokens
from corpusmill.models.cpu.native.bindings import SWITCH, library
from corpusmill.models.ops.choose import attention_kernel

Reference = Callable[..., Any]
PER_TOKEN = {"last_hidden_state", "start_logits", "end_logits", "prediction_logits"}
TAGGING = ("token-classification", "fill-mask")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A checkpoint for an architecture and a task, written once."""
    written: dict[tuple[str, str], Path] = {}

    def checkpoint(architecture: str, task: str) -> Path:
        if (architecture, task) not in written:
            folder = tmp_path_factory.mktemp(f"{architecture}-{task}")
            labels = ("a", "b") if task == "question-answering" else ("a", "b", "c")
            written[architecture, task] = write_checkpoint(folder, architecture, task, labels=labels)
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
        def alone(ids: list[int], types: list[int] | None = None, **options: Any) -> Any:
            typed = {} if types is None else {"token_type_ids": torch.tensor([types])}
            inputs = {"input_ids": torch.tensor([ids]), **typed}
            if checkpoint.task == "multiple-choice":
                inputs = {key: value[:, None] for key, value in inputs.items()}
            return model(**inputs, output_hidden_states=True, output_attentions=True, **options)

        alone.model = model  # type: ignore[attr-defined]
        return alone

    return load


@pytest.fixture(scope="session")
def results() -> Callable[..., list[dict[str, Tensor]]]:
    """The results of a batch, one dictionary a sequence, by the names of the output's fields."""

    def per_sequence(model: Model, packed: PackedTokens, **options: Any) -> list[dict[str, Tensor]]:
        task = model.checkpoint.task
        output = model(packed, **({"num_choices": 1} if task == "multiple-choice" else {}) | options)
        columns = {}
        for field in fields(output):
            value = getattr(output, field.name)
            if isinstance(value, Tensor) and field.name != "loss":
                each_token = field.name in PER_TOKEN or task in TAGGING
                columns[field.name] = packed.split(value) if each_token else tuple(value)
        assert columns
        return [{name: parts[index] for name, parts in columns.items()} for index in range(len(packed))]

    return per_sequence


@pytest.fixture(scope="session")
def expected() -> Callable[..., dict[str, Tensor]]:
    """transformers' output for one sequence, under the names of our records."""

    def one(theirs: Any, task: str) -> dict[str, Tensor]:
        if task == "embedding":
            return {"embeddings": theirs.last_hidden_state[0].mean(dim=0)}
        if task == "sparse-embedding":
            return {"weights": theirs.logits[0].relu().log1p().amax(dim=0)}
        return {name: value[0] for name, value in theirs.items() if isinstance(value, Tensor) and value.ndim}

    return one


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny products on several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_kernels_in_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a CPU for which there are none."""
    choices = (library, attention_kernel)
    monkeypatch.setenv(SWITCH, "0")
    for choice in choices:
        choice.cache_clear()
    yield
    monkeypatch.undo()
    for choice in choices:
        choice.cache_clear()


@pytest.fixture(params=["kernels in C", "oneDNN"])
def either_way(request: pytest.FixtureRequest) -> None:
    """With the kernels in C, where there are any, and without."""
    if request.param == "oneDNN":
        request.getfixturevalue("no_kernels_in_c")
    elif library()[0] is None:
        pytest.skip(library()[1])
