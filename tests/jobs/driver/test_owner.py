"""One driver an output: a second is refused, a dead one's place is taken, nothing committed changes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from workshop import Workshop

from corpusmill.jobs.driver import owner as module
from corpusmill.jobs.driver.owner import (
    FILE,
    HEARTBEAT_TIMEOUT,
    Owner,
    Ownership,
    machine,
    owning,
    process_start,
)
from corpusmill.pipeline.engine.inline import InlineEngine
from corpusmill.pipeline.errors import JobFailed, OutputError
from corpusmill.pipeline.output import writes
from corpusmill.pipeline.output.folder import OutputFolder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> OutputFolder:
    """An empty output folder on a disk and on a store."""
    return OutputFolder.of(
        str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out", "arrow"
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life and second looks every few milliseconds."""
    monkeypatch.setattr(module, "HEARTBEAT_INTERVAL", 0.02)
    monkeypatch.setattr(module, "TAKE_OVER_PAUSE", 0.05)


def another(**changes: Any) -> Owner:
    """A living driver on another machine."""
    now = time.time()
    return replace(Owner("other", "far", "far boot", 7, "123", now - 60, now), **changes)


def put(folder: OutputFolder, owner: Owner) -> None:
    folder.put(folder.job(FILE), json.dumps(asdict(owner)).encode())


def stated(folder: OutputFolder) -> Owner:
    return Owner(**json.loads(folder.read(folder.job(FILE))))


def until_it_stops(ownership: Ownership) -> None:
    """Checks again and again."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        ownership.check()
        time.sleep(0.01)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_an_owner_gives_signs_of_life_and_leaves_nothing_behind(folder: OutputFolder) -> None:
    """Also where its work fails."""
    with suppress(KeyError), owning(folder) as ownership:
        first = stated(folder)
        assert (first.host, first.pid) == (socket.gethostname(), os.getpid())
        deadline = time.monotonic() + 10
        while stated(folder).heartbeat == first.heartbeat and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stated(folder).heartbeat > first.heartbeat
        ownership.check()
        raise KeyError
    assert not folder.exists(folder.job(FILE))


def test_a_living_owner_elsewhere_is_named(folder: OutputFolder) -> None:
    """With what to do; its record stays."""
    put(folder, another())
    with (
        pytest.raises(OutputError, match=r"written by process 7 on far, .* --take-over") as raised,
        owning(folder),
    ):
        pass
    assert raised.value.field is None
    assert stated(folder).id == "other"


def test_a_living_owner_on_this_machine_is_refused_however_silent(
    folder: OutputFolder, child: subprocess.Popen[bytes]
) -> None:
    """It may have been stopped for a while."""
    put(
        folder, another(machine=machine(), pid=child.pid, process_start=process_start(child.pid), heartbeat=0)
    )
    with pytest.raises(OutputError, match=f"process {child.pid} on far"), owning(folder):
        pass


def test_another_run_of_this_process_is_an_owner_while_it_lasts(folder: OutputFolder) -> None:
    """And none afterwards, even where its record could not be removed."""
    with owning(folder):
        left = stated(folder)
        with pytest.raises(OutputError, match=f"process {os.getpid()} on"), owning(folder):
            pass
    put(folder, left)
    with owning(folder):
        assert stated(folder).id != left.id


@pytest.mark.parametrize("reused", [True, False])
def test_a_dead_owner_on_this_machine_is_followed_at_once(
    folder: OutputFolder, child: subprocess.Popen[bytes], reused: bool
) -> None:
    """Its process is gone, or its number is another's by now."""
    start = "1" if reused else process_start(child.pid) or ""
    put(folder, another(machine=machine(), pid=child.pid, process_start=start))
    if not reused:
        child.kill()  # not waited for: a zombie is dead too
        deadline = time.monotonic() + 10
        while process_start(child.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
    with owning(folder) as ownership:
        ownership.check()
        assert stated(folder).pid == os.getpid()


def test_an_owner_elsewhere_is_dead_once_silent(folder: OutputFolder) -> None:
    """Its process cannot be asked."""
    put(folder, another(heartbeat=time.time() - HEARTBEAT_TIMEOUT - 1))
    with owning(folder):
        assert stated(folder).id != "other"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 3}', b"\xff\0"])
def test_a_damaged_record_is_nobody(folder: OutputFolder, content: bytes) -> None:
    """A power cut must not lock an output for ever."""
    folder.put(folder.job(FILE), content)
    with owning(folder):
        assert stated(folder).pid == os.getpid()


def test_an_owner_that_was_replaced_stops(folder: OutputFolder) -> None:
    """And leaves the other's record alone."""
    put(folder, another())
    with owning(folder, take_over=True) as ownership:
        ownership.check()
        put(folder, another(id="third"))
        with pytest.raises(JobFailed, match="was taken over by process 7 on far"):
            until_it_stops(ownership)
    assert stated(folder).id == "third"


def test_of_two_that_take_over_at_once_one_stays(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is looked at once more before any work."""
    put(folder, another(heartbeat=0.0))
    replaced = writes.replace

    def beaten(path: str, content: bytes) -> None:
        replaced(path, content)
        replaced(path, json.dumps(asdict(another(id="quicker"))).encode())

    monkeypatch.setattr(writes, "replace", beaten)
    with pytest.raises(OutputError, match="is being written by"), owning(folder):
        pass
    assert stated(folder).id == "quicker"


def test_a_late_sign_of_life_of_the_replaced_owner_is_written_over(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read its own record just before it was replaced, and renews it just after."""
    put(folder, another())
    replaced, late = writes.replace, [json.dumps(asdict(another())).encode()]

    def renewed(path: str, content: bytes) -> None:
        replaced(path, content)
        if late:
            replaced(path, late.pop())

    monkeypatch.setattr(writes, "replace", renewed)
    with owning(folder, take_over=True) as ownership:
        ownership.check()
        assert stated(folder).pid == os.getpid()


RUN = "import sys; from corpusmill.jobs.cli.app import main; main()"
SLOW = """
import time
from corpusmill.pipeline.engine import inline
whole = inline.commit
def slow(*arguments, **options):
    receipt = whole(*arguments, **options)
    time.sleep(0.3)
    return receipt
inline.commit = slow
"""


def started(workshop: Workshop, job: Path) -> subprocess.Popen[str]:
    """A run in a process of its own, with several of its units still to do."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW + RUN, "run", str(job), "--executor", "inline"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (workshop.output / "data").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


@pytest.mark.slow
def test_a_second_run_is_refused_while_the_first_works(workshop: Workshop) -> None:
    """Exit code 1, one line with the owner; the first ends as if alone."""
    workshop.numbered(80)
    job = workshop.job()
    process = started(workshop, job)
    result = workshop.cli("run", job)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"error: {workshop.output}: is being written by process {process.pid} on {socket.gethostname()}, "
    )
    assert len(result.stderr.splitlines()) == 1
    assert "--take-over" in result.stderr
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert workshop.cli("verify", workshop.output).exit_code == 0
    assert not (workshop.output / "_job" / FILE).exists()
    workshop.run(output__path=str(workshop.folder / "alone"))
    alone = {path.name: path.read_bytes() for path in (workshop.folder / "alone" / "data").iterdir()}
    assert workshop.data() == alone


@pytest.mark.slow
def test_a_killed_run_is_continued_at_once(workshop: Workshop) -> None:
    """Without any option: its process is gone. What it left half written goes too."""
    workshop.numbered(80)
    job = workshop.job()
    process = started(workshop, job)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (workshop.output / "data" / ".u.arrow.0123.tmp").write_bytes(b"half")
    assert (workshop.output / "_job" / FILE).exists()
    assert workshop.cli("run", job).exit_code == 0
    assert not list(workshop.output.rglob(".*"))
    assert workshop.cli("verify", workshop.output).exit_code == 0


def test_a_run_that_was_taken_over_stops_and_changes_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --take-over both may work for a moment: files committed by one are not written by the other."""
    workshop.numbered(40)
    job = workshop.job()
    undisturbed = InlineEngine.run
    seen: list[str] = []

    def overtaken(self: InlineEngine, pending: Any) -> Any:
        if seen:
            yield from undisturbed(self, pending)
            return
        outcomes = undisturbed(self, pending)
        yield next(outcomes)
        seen.append("first")
        result = workshop.cli("run", job, "--take-over")
        assert result.exit_code == 0, result.output
        seen.append(result.stdout)
        marks.update({path: path.stat().st_mtime_ns for path in (workshop.output / "data").iterdir()})
        put(OutputFolder.of(str(workshop.output), "arrow"), another())  # the other's next run has begun
        time.sleep(0.2)
        yield from outcomes

    marks: dict[Path, int] = {}
    monkeypatch.setattr(InlineEngine, "run", overtaken)
    result = workshop.cli("run", job)
    assert result.exit_code == 1
    assert "was taken over by process " in result.stderr
    assert "40 rows" in seen[1], seen
    assert {path: path.stat().st_mtime_ns for path in (workshop.output / "data").iterdir()} == marks
    assert workshop.cli("verify", workshop.output).exit_code == 0
