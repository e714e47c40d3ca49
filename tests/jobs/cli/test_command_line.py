"""The installed command as a process of its own: exit codes, and what goes to which stream."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.interrupts import interrupts_heard
from typer.testing import CliRunner
from workshop import Workshop

from corpusmill.jobs.cli.app import app

COMMAND = str(Path(sys.executable).with_name("corpusmill"))


def call(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Calls the command in a folder that is not the repository's."""
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120, check=False)


def test_a_job_runs_and_verifies(workshop: Workshop) -> None:
    """With relative paths, one JSON object a call on standard output, and 0 each time."""
    workshop.lines([json.dumps({"id": i, "text": f"text {i}"}) for i in range(10)] + ["{"])
    job = workshop.job(input__path="in/*.jsonl", output__path="out/here")
    first = call("run", job, "--executor", "inline", "--json", folder=workshop.folder)
    assert first.returncode == 0, first.stderr
    (line,) = first.stdout.splitlines()
    assert json.loads(line)["output"] == str(workshop.folder / "out" / "here")
    # A slow machine adds lines of progress before it.
    warning = f"warning: 1 row(s) were rejected, see {workshop.folder}/out/here/rejects"
    *progress, last = first.stderr.splitlines()
    assert last == warning, first.stderr
    assert all("tokens/s" in line for line in progress), first.stderr
    checked = call("verify", "out/here", "--json", folder=workshop.folder)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert json.loads(checked.stdout)["ok"] is True


@pytest.mark.slow
def test_a_failed_job_exits_with_1_and_one_traceback_if_asked_for(workshop: Workshop) -> None:
    """Nothing on standard output."""
    workshop.lines(['{"id": 1, "text": "a"}', "{"])
    job = workshop.job(input__on_bad_row="fail")
    failed = call("run", job, "--executor", "inline", "--debug", folder=workshop.folder)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.count("Traceback") == 1


def test_several_problems_are_a_line_each(workshop: Workshop) -> None:
    """Exit code 2, and every line begins with the job file and the field."""
    workshop.numbered(4)
    job = workshop.job(outputs=1, input__txt=2, models__0__dtype="x")
    result = workshop.cli("run", job)
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.removeprefix("error: ").splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [str(job), "input.txt"],
        [str(job), "models[0].dtype"],
        [str(job), "outputs"],
    ]


@pytest.mark.parametrize(
    "arguments",
    ["", "run", "run job.yaml --executor dask", "demo --executor dask", "plan a --nonsense", "fly"],
)
def test_wrong_usage_exits_with_2(arguments: str) -> None:
    """And shows how it is used."""
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2
    assert "Usage" in result.output


def test_ctrl_c_exits_with_130_and_the_same_command_continues(workshop: Workshop) -> None:
    """The signal to the process itself, while it works."""
    workshop.numbered(4000)
    job = workshop.job(input__rows_per_unit=4)
    command = [COMMAND, "run", str(job), "--executor", "inline"]
    with interrupts_heard():
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=workshop.folder
        )
    data, deadline = workshop.output / "data", time.monotonic() + 60
    while not (data.exists() and len(os.listdir(data)) > 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert f"continue with: corpusmill run {job}" in err
    assert "Traceback" not in err
    checked = json.loads(workshop.cli("verify", workshop.output, "--json").stdout)
    assert (checked["ok"], checked["complete"]) == (True, False)


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(workshop: Workshop) -> None:
    """`corpusmill verify ... | head -0` prints no traceback."""
    workshop.numbered(4)
    workshop.run()
    pipe = f"{COMMAND} verify {workshop.output} --json | true"
    found = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in found.stderr
    assert "BrokenPipe" not in found.stderr


def test_help_does_not_wait_for_torch_or_ray() -> None:
    """The command line is there at once; slow packages are imported by the commands that need them."""
    heavy = "[m for m in ('torch', 'ray', 'pyarrow') if m in sys.modules]"
    code = f"import sys, corpusmill.jobs.cli.app; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
