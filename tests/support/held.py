"""Processes that wait, in the middle of their work, to be killed: once, at a place that tests choose."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray

from corpusmill.models import Model, PackedTokens
from corpusmill.pipeline.blocks import unpack_block
from corpusmill.pipeline.engine import committers, ray_engine, source
from corpusmill.pipeline.engine.committers import CommitRequest, CommitWorker
from corpusmill.pipeline.engine.workers import EncodeWorker
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.spec import InputSpec, ModelSpec, OutputSpec
from corpusmill.pipeline.tasks.task import Values


def hold(mark: str) -> None:
    """Wait to be killed, if nobody has come here before; `mark` then holds the process id."""
    try:
        descriptor = os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.write(descriptor, f"{os.getpid()}\n".encode())
    os.close(descriptor)
    time.sleep(600)


def reading(mark: str) -> tuple[Any, str, Any]:
    """Hold a reading task after its second unit has left it."""
    whole = source._read_blocks

    def read(*arguments: Any) -> Iterator[pa.Table]:
        for number, packed in enumerate(whole(*arguments)):
            if number == 2:
                hold(mark)
            yield packed

    return source, "_read_blocks", read


def tokenizing(mark: str) -> tuple[Any, str, Any]:
    """Hold a tokenizing worker that has got a unit from the middle of a file."""
    whole = source._tokenize_block

    def tokenize(packed: pa.Table, **options: Any) -> pa.Table:
        if unpack_block(packed).unit.offset:
            hold(mark)
        return whole(packed, **options)

    return source, "_tokenize_block", tokenize


class HeldEncoder(EncodeWorker):
    """Holds between the model's result of a batch and its columns."""

    def __init__(self, spec: ModelSpec, mark: str) -> None:
        super().__init__(spec)
        real = self._encoder._task.values

        def values(model: Model, packed: PackedTokens) -> Values:
            found = real(model, packed)
            hold(mark)
            return found

        self._encoder._task.values = values  # type: ignore[method-assign]


def encoding(mark: str) -> tuple[Any, str, Any]:
    """Hold an encoder in the middle of its first batch."""
    worker = ray.remote(num_cpus=0, max_restarts=0)(HeldEncoder)
    return ray_engine, "start_encoder", lambda spec: worker.remote(spec, mark)


class HeldCommitter(CommitWorker):
    """Holds once a unit's rejects are written and its data file is not."""

    def __init__(self, reading: InputSpec, output: OutputSpec, mark: str) -> None:
        super().__init__(reading, output)
        self._mark = mark

    def commit(self, packed: pa.Table, request: CommitRequest, *columns: pa.Table) -> Any:
        """Write one unit."""
        create = OutputFolder.create

        def held(folder: OutputFolder, path: str, content: Any) -> bool:
            if unpack_block(packed).rejects:
                hold(self._mark)
            return create(folder, path, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OutputFolder, "create", held)
            return super().commit(packed, request, *columns)


def writing(mark: str) -> tuple[Any, str, Any]:
    """Hold a committer between the rejects and the data of a unit."""
    worker = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(HeldCommitter)
    return committers, "start_committer", lambda *specs: worker.remote(*specs, mark)


HELD: dict[str, Callable[[str], tuple[Any, str, Any]]] = {
    "reading": reading,
    "tokenizing": tokenizing,
    "encoding": encoding,
    "committing": writing,
}


def held(stage: str, mark: Path) -> tuple[Any, str, Any]:
    """Return what to replace (object, name, by what) so that a process of this stage waits to be killed."""
    # Workers have no path to the tests: they get this module's functions and classes whole.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return HELD[stage](str(mark))


@contextmanager
def killing(mark: Path) -> Iterator[None]:
    """SIGKILL the process that waits, while the block runs; an error if none did."""
    over = threading.Event()
    thread = threading.Thread(target=partial(_kill, mark, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert mark.exists(), "no process came to where it would have been killed"


def _kill(mark: Path, over: threading.Event) -> None:
    while not over.wait(0.05):
        if mark.exists() and mark.read_text(encoding="ascii").endswith("\n"):
            os.kill(int(mark.read_text(encoding="ascii")), signal.SIGKILL)
            return
