"""Full disks and stores that refuse, hang, forget or tell late: said in words, nothing wrong committed."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from support.faulty import Fault, FaultyFileSystem, faults
from workshop import Workshop

from corpusmill.pipeline import storage

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
REFUSED = PermissionError("Access Denied")
SILENT = TimeoutError("the store does not answer")
RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
FOREIGN = RuntimeError("Unable to locate credentials")
"""Clients have errors of their own, which are no OSError."""
URL = "faulty://bucket/out"
MAIN = "from corpusmill.jobs.cli.app import main; main()"
SLOW = """
import time
from corpusmill.pipeline.engine import inline
whole = inline.commit
def slow(*arguments, **options):
    receipt = whole(*arguments, **options)
    time.sleep(0.2)
    return receipt
inline.commit = slow
"""


@pytest.fixture(autouse=True)
def empty_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty store, and no pauses between attempts."""
    monkeypatch.setattr(storage, "PAUSES", (0.0, 0.0, 0.0))
    FaultyFileSystem.store.clear()
    yield
    FaultyFileSystem.store.clear()


def stored(folder: str = "data") -> dict[str, bytes]:
    """The objects of the output."""
    root = f"/bucket/out/{folder}/"
    return {
        name.removeprefix(root): entry.getvalue()
        for name, entry in FaultyFileSystem.store.items()
        if name.startswith(root)
    }


@pytest.fixture
def job(workshop: Workshop) -> Path:
    """A job of six units, with rejects, that writes to the store."""
    workshop.numbered(36)
    workshop.lines(['{"id": 1, "text": "fine"}', "no json"], "in/b.jsonl")
    workshop.run()
    return workshop.job(output__path=URL)


WRITES = {
    "full": Fault("write", "/data/", FULL, after=2),
    "refused": Fault("write", "/data/", REFUSED, after=2),
    "silent": Fault("write", "/data/", SILENT, after=2),
    "foreign": Fault("write", "/data/", FOREIGN, after=1),
    "rejects": Fault("write", "/rejects/", FULL),
    "full for all": Fault("write", "", FULL, after=6),
    "manifest": Fault("write", "_manifest", FULL),
    "plan": Fault("write", "plan.jsonl", FULL),
    "statistics": Fault("write", "stats.json", FULL),
    "looking": Fault("read", "/data/", FOREIGN, after=2),
    "listing": Fault("list", "/data", FOREIGN),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", WRITES.values(), ids=WRITES)
def test_a_store_that_fails_is_said_in_words_and_the_same_command_continues(
    workshop: Workshop, job: Path, fault: Fault
) -> None:
    """Exit code 1, one line with the reason; what is committed is right; then all of it is there."""
    whole = workshop.data()
    with faults(fault):
        result = workshop.cli("run", job)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(fault.error).split("] ")[-1] in line
    assert "fault of corpusmill" not in line
    assert "run the same command again" in line
    committed = stored()
    assert {name: whole[name] for name in committed} == committed
    if any(stored("_job").get(name) for name in ("fingerprint.json",)) and "plan.jsonl" in stored("_job"):
        assert workshop.cli("verify", URL).exit_code == 0
    result = workshop.cli("run", job, "--json")
    assert result.exit_code == 0, result.stderr
    assert stored() == whole
    assert workshop.cli("verify", URL).exit_code == 0
    assert not any(name == "owner.json" for name in stored("_job"))


NOW_AND_THEN: dict[str, list[Fault]] = {
    "answers lost": [Fault("write", "", RESET, late=True, after=i, times=1) for i in range(0, 200, 2)],
    "writes fail": [Fault("write", "", SILENT, after=i, times=1) for i in range(0, 400, 3)],
    "reads fail": [Fault("read", "", RESET, after=i, times=1) for i in range(0, 400, 3)],
    "lists fail": [Fault("list", "", RESET, after=i, times=1) for i in range(0, 40, 2)],
    "two in a row": [Fault("write", "/data/", SILENT, after=i, times=2) for i in range(0, 40, 4)],
    "all slow": [Fault(operation, seconds=0.005) for operation in ("write", "read", "list")],
}


@pytest.mark.parametrize("found", NOW_AND_THEN.values(), ids=NOW_AND_THEN)
def test_a_store_that_fails_now_and_then_costs_nothing(
    workshop: Workshop, job: Path, found: list[Fault]
) -> None:
    """It is asked again; an object whose answer got lost is found there, not taken for another's."""
    with faults(*found):
        result = workshop.cli("run", job)
    assert result.exit_code == 0, result.stderr
    assert stored() == workshop.data()
    assert workshop.cli("verify", URL).exit_code == 0


@pytest.mark.parametrize("hidden", ["/data/", "/data/.*[02468ace]-0000", "/(data|_job|rejects)/"])
def test_a_listing_that_comes_late_costs_work_and_no_more(workshop: Workshop, job: Path, hidden: str) -> None:
    """Units that are there but not listed are done again: what is committed is not touched by that."""
    with faults(Fault("write", "/data/", FULL, after=4)):
        assert workshop.cli("run", job).exit_code == 1
    before = {name: id(entry) for name, entry in FaultyFileSystem.store.items() if "/data/" in name}
    assert len(before) == 4
    with faults(Fault("list", hidden)):
        result = workshop.cli("run", job)
        assert result.exit_code == 0, result.stderr
    after = {name: id(entry) for name, entry in FaultyFileSystem.store.items()}
    assert {name: after[name] for name in before} == before
    assert stored() == workshop.data()
    assert workshop.cli("verify", URL).exit_code == 0


def test_a_reading_store_that_fails_costs_its_files_only(workshop: Workshop) -> None:
    """The others go on; the same command then does the rest."""
    for name in "abc":
        fsspec.filesystem("faulty").pipe_file(
            f"/bucket/in/{name}.jsonl", workshop.numbered(20, f"{name}.jsonl").read_bytes()
        )
    job = workshop.job(input__path="faulty://bucket/in")
    with faults(Fault("read", "in/b.jsonl", SILENT, after=2)):
        result = workshop.cli("run", job)
    assert result.exit_code == 1
    assert "faulty:///bucket/in/b.jsonl: cannot be" in result.stderr
    assert "the store does not answer" in result.stderr
    assert "40 rows are committed" in result.stderr
    result = workshop.cli("run", job)
    assert result.exit_code == 0, result.stderr
    assert "60 rows" in result.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here; the store above runs full too")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_in_words_and_the_same_command_continues(
    workshop: Workshop, small_disk: Path
) -> None:
    """Really full: whole files only, no temporary ones, and with more space the job goes on."""
    workshop.numbered(400)
    workshop.run(output__compression=None)
    whole = workshop.data()
    output = small_disk / "out"
    job = workshop.job(output__path=str(output), output__compression=None)
    result = workshop.cli("run", job)
    assert result.exit_code == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert "cannot be written (No space left on device); it needs free space" in line
    committed = {path.name: path.read_bytes() for path in (output / "data").iterdir()}
    assert 0 < len(committed) < len(whole)
    assert {name: whole[name] for name in committed} == committed
    assert workshop.cli("verify", output).exit_code == 0
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert workshop.cli("run", job).exit_code == 0
    assert {path.name: path.read_bytes() for path in (output / "data").iterdir()} == whole
    assert workshop.cli("verify", output).exit_code == 0


def ended(process: subprocess.Popen[str]) -> str:
    """The one line that a run in a process of its own failed with."""
    with process:
        try:
            _, err = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 1, err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    return line


def started(job: Path, *options: str, code: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code + MAIN, "run", str(job), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.exhaustive
def test_a_full_disk_under_ray(workshop: Workshop, small_disk: Path) -> None:
    """Committers in processes of their own say the same."""
    workshop.numbered(400)
    fields = {"output__compression": None, "models__0__pool": {"cpus": 1}}
    workshop.run(**fields)
    whole = workshop.data()
    output = small_disk / "out"
    job = workshop.job(output__path=str(output), **fields)
    assert "cannot be written (No space left on device); it needs free space" in ended(started(job))
    committed = {path.name: path.read_bytes() for path in (output / "data").iterdir()}
    assert 0 < len(committed) < len(whole)
    assert {name: whole[name] for name in committed} == committed
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert workshop.cli("run", job).exit_code == 0
    assert {path.name: path.read_bytes() for path in (output / "data").iterdir()} == whole


@pytest.mark.slow
def test_a_disk_that_refuses_writes_in_the_middle_is_said_in_words(
    workshop: Workshop, small_disk: Path
) -> None:
    """As a file system does that its kernel has found to be damaged: it is read-only from then on."""
    workshop.numbered(100)
    workshop.run()
    whole = workshop.data()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    output = small_disk / "out"
    job = workshop.job(output__path=str(output))
    process = started(job, "--executor", "inline", code=SLOW)
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        there = (output / "data").exists() and len(list((output / "data").iterdir())) > 2
        # Refused for as long as a file is open for writing at this moment.
        if (
            there
            and not subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=False).returncode
        ):
            break
    assert "cannot be written (Read-only file system); " in ended(process)
    committed = {path.name: path.read_bytes() for path in (output / "data").glob("*.arrow")}
    assert 2 < len(committed) < len(whole)
    assert {name: whole[name] for name in committed} == committed
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert workshop.cli("run", job).exit_code == 0
    assert {path.name: path.read_bytes() for path in (output / "data").iterdir()} == whole
    assert workshop.cli("verify", output).exit_code == 0
