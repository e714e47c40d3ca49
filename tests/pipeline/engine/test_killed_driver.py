"""The command line with a Ray cluster of its own: killed, run again, and among a user's files."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import yaml
from support import marked_processes
from support.interrupts import interrupts_heard

from corpusmill.jobs import JobConfig, run

COMMAND = str(Path(sys.executable).with_name("corpusmill"))
LONGEST = 600.0
"""Seconds after which a run that should have ended is a failure."""
MARK = "CORPUSMILL_TEST_RUN"
"""The variable by which every process of a run is known: all of them inherit it."""


def write_job(job: dict[str, Any], folder: Path) -> Path:
    """Write the job file."""
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return path


def start(path: Path, *options: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start `corpusmill run` in its own process group."""
    with interrupts_heard():
        return subprocess.Popen(
            [COMMAND, "run", str(path), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or path.parent,
            start_new_session=True,
            env={**os.environ, MARK: str(path)},
        )


def left_of(path: Path) -> list[psutil.Process]:
    """Return the processes that a run of this job has left behind, once those that end have ended."""
    return marked_processes.left(MARK, str(path), seconds=60)


def kill_when(process: subprocess.Popen[str], data: Path, files: int, pause: float) -> None:
    """SIGKILL the driver a moment after that many more data files are there; do nothing if it ends first."""
    deadline = time.monotonic() + LONGEST
    wanted = files + committed(data)
    while process.poll() is None and time.monotonic() < deadline and committed(data) < wanted:
        time.sleep(0.01)
    with suppress(subprocess.TimeoutExpired):
        process.wait(pause)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened, or the process has ended."""
    deadline = time.monotonic() + LONGEST
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def committed(data: Path) -> int:
    """The number of data files."""
    return sum(name.endswith(".arrow") for name in os.listdir(data)) if data.is_dir() else 0


def data_files(job: dict[str, Any]) -> dict[str, bytes]:
    """The visible files in data/."""
    folder = Path(job["output"]["path"]) / "data"
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def inline(job: dict[str, Any], out: Path) -> dict[str, bytes]:
    """The data files of an undisturbed inline run, written to another place."""
    other = job | {"output": {"path": str(out)}}
    run(JobConfig.from_dict(other), executor="inline")
    return data_files(other)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.exhaustive)])
def test_a_killed_run_continues_to_the_same_bytes(job: dict[str, Any], tmp_path: Path, kills: int) -> None:
    """SIGKILL of the driver at random moments, then the same command: the bytes of an undisturbed run.

    Every other time in the midst of commits, else at any time from the start of the process on.
    """
    job["input"]["rows_per_unit"] = 2
    undisturbed = inline(job, tmp_path / "undisturbed")
    path = write_job(job, tmp_path)
    moments = random.Random(kills)
    data = Path(job["output"]["path"]) / "data"
    for attempt in range(kills):
        among_commits = attempt % 2 == 0
        files, pause = (moments.randint(1, 6), 0.2) if among_commits else (0, 8.0)
        before = committed(data)
        kill_when(start(path), data, files, moments.uniform(0, pause))
        assert committed(data) >= min(before + files, len(undisturbed))
        for name, content in data_files(job).items() if data.is_dir() else ():
            assert content == undisturbed[name], (
                f"after kill {attempt}: {name} is not what an undisturbed run writes"
            )
    process = start(path, "--json")
    out, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert (result["rows"], result["rejected"], result["units"]) == (597, 3, len(undisturbed))
    assert data_files(job) == undisturbed
    check = subprocess.run(  # noqa: PLW1510  the report says what is wrong
        [COMMAND, "verify", job["output"]["path"], "--json"], capture_output=True, text=True, timeout=LONGEST
    )
    assert json.loads(check.stdout)["ok"], check.stdout
    assert left_of(path) == []


@pytest.mark.exhaustive
def test_streams_and_a_users_own_packages(job: dict[str, Any], tmp_path: Path) -> None:
    """One JSON object on standard output, nothing of Ray's, beside a user's `models/` and `jobs/`."""
    for name in ("models", "jobs", "pipeline"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            "raise ImportError('a user package was imported')\n", encoding="utf-8"
        )
    process = start(write_job(job, tmp_path), "--json", cwd=tmp_path)
    out, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, err
    assert json.loads(out)["rows"] == 597
    assert "warning: 3 row(s) were rejected" in err
    noise = [
        line
        for line in err.splitlines()
        if any(word in line.lower() for word in ("ray", "warn", "raylet", "dashboard"))
    ]
    assert noise == [line for line in err.splitlines() if line.startswith("warning: 3 row(s)")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "executor"),
    [
        (signal.SIGINT, "ray"),
        (signal.SIGTERM, "inline"),
        pytest.param(signal.SIGTERM, "ray", marks=pytest.mark.exhaustive),
        (signal.SIGINT, "inline"),
    ],
)
def test_a_signal_ends_a_run_that_the_printed_command_continues(
    job: dict[str, Any], tmp_path: Path, number: int, executor: str
) -> None:
    """Ctrl-C ends with 130, SIGTERM with 143; the files there are whole, and nothing else is.

    No process of the run's cluster is left. How long it takes is measured by benchmarks/time_to_stop.py.
    """
    job["input"]["rows_per_unit"] = 2  # so many units that the signal comes long before the last
    undisturbed = inline(job, tmp_path / "undisturbed")
    path = write_job(job, tmp_path)
    process = start(path, "--executor", executor)
    data = Path(job["output"]["path"]) / "data"
    wait_until(lambda: committed(data) > 0, process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to all processes of the group
    else:
        process.send_signal(number)  # as a container's runtime does
    _, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 128 + number, err
    options = "" if executor == "ray" else " --executor inline"
    assert f"continue with: corpusmill run {path}{options}\n" in err
    assert "Traceback" not in err
    assert left_of(path) == []
    found = data_files(job)
    assert 0 < len(found) < len(undisturbed)
    assert all(undisturbed[name] == content for name, content in found.items())
    assert [name for name in os.listdir(data) if name.startswith(".")] == []
    run(JobConfig.from_dict(job), executor="inline")
    assert data_files(job) == undisturbed


@pytest.mark.exhaustive
def test_an_end_that_ray_holds_up_comes_all_the_same(job: dict[str, Any], tmp_path: Path) -> None:
    """Ray's processes are stopped and do not answer: the watchdog ends them and the driver."""
    job["input"]["rows_per_unit"] = 2
    path = write_job(job, tmp_path)
    process = start(path)
    data = Path(job["output"]["path"]) / "data"
    wait_until(lambda: committed(data) > 0, process)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.suspend()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 130, err
    assert err.count(f"continue with: corpusmill run {path}\n") == 1
    assert left_of(path) == []


@pytest.mark.exhaustive
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive)]
)
def test_a_run_leaves_the_cluster_that_it_was_connected_to(
    job: dict[str, Any], tmp_path: Path, number: int
) -> None:
    """Its workers end there and nothing else, also where the driver only drops its connection."""
    job["input"]["rows_per_unit"] = 2
    job["models"] = job["models"][:1]  # the cluster has a CPU for its worker, and one for reading
    here = psutil.Process()
    cluster = [child for child in here.children() if "ray" in " ".join(child.cmdline())]
    process = start(write_job(job, tmp_path), "--address", ray.get_runtime_context().gcs_address)
    data = Path(job["output"]["path"]) / "data"
    wait_until(lambda: committed(data) > 0, process)
    ours = ("ray::EncodeWorker", "ray::CommitWorker")
    workers = [each for each in here.children(recursive=True) if each.name().startswith(ours)]
    assert workers, process.poll()
    process.send_signal(number)
    _, err = process.communicate(timeout=LONGEST)
    assert process.returncode == (130 if number == signal.SIGINT else -number), err
    _, alive = psutil.wait_procs(workers, timeout=LONGEST)
    assert alive == []
    assert cluster
    assert all(root.is_running() for root in cluster)
    assert ray.get(ray.remote(lambda: 7).remote()) == 7


@pytest.mark.slow
@pytest.mark.parametrize(
    "pause",
    [
        0.0,
        2.0,
        5.0,
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (0.5, 1.0, 3.0, 4.0, 6.0)),
    ],
)
def test_a_termination_while_the_cluster_starts(job: dict[str, Any], tmp_path: Path, pause: float) -> None:
    """SIGTERM at any moment of a start: the same exit code, no traceback, and no process left."""
    path = write_job(job, tmp_path)
    process = start(path)
    wait_until((Path(job["output"]["path"]) / "_job" / "owner.json").exists, process)
    time.sleep(pause)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert left_of(path) == []
