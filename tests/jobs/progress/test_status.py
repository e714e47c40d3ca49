"""`status`: how an output stands, told from its own records, while it runs and after."""

import errno
import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.faulty import Fault, faults
from typer.testing import CliRunner
from workshop import Workshop

from corpusmill.jobs.cli.app import app
from corpusmill.jobs.driver.events import EventLog
from corpusmill.jobs.driver.owner import owning
from corpusmill.jobs.progress.status import status, watch
from corpusmill.jobs.progress.tally import RunProgress
from corpusmill.jobs.progress.view import table
from corpusmill.pipeline.engine.messages import PoolState
from corpusmill.pipeline.output.folder import OutputFolder

POOL = PoolState(
    "mood",
    queued_tokens=1_200,
    workers=3,
    starting=1,
    draining=2,
    target=4,
    max_workers=8,
    tokens=5_000,
    tokens_per_second=250.0,
    waiting_share=0.125,
    done_tokens=4_000,
    left_tokens=8_000,
)
PROGRESS = RunProgress(12.0, 100, 2, 5, 300, False, 180, 5_000, 15_000, 250.0, 33.0, (POOL,))


def noted(workshop: Workshop, *events: tuple[str, dict[str, Any]]) -> OutputFolder:
    """An output of a finished job, whose manifest is taken away and whose last run noted these events."""
    workshop.numbered(20)
    workshop.run()
    (workshop.output / "_manifest.parquet").unlink()
    folder = OutputFolder.of(str(workshop.output), "arrow")
    log = EventLog(folder)
    for name, fields in events:
        log.write(name, **fields)
    log.close()
    return folder


def test_a_finished_output_is_finished(workshop: Workshop) -> None:
    """And has no driver; the last line of a short run is its end, not a progress."""
    workshop.numbered(20)
    workshop.run()
    found = status(str(workshop.output))
    assert (found.state, found.driver, found.standing) == ("finished", None, None)
    line = CliRunner().invoke(app, ["status", str(workshop.output)]).stdout
    assert re.fullmatch(r".*: finished: 20 rows, [0-9,]+ tokens in 3 units\n", line)


def test_a_running_output_shows_its_last_progress(workshop: Workshop) -> None:
    """With who is at work on it and how old the figures are; a line that is only half there is left out."""
    folder = noted(workshop, ("start", {}), ("progress", PROGRESS.to_event()))
    with (workshop.output / "_job" / "events.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"event": "prog')
    with owning(folder):
        result = CliRunner().invoke(app, ["status", str(workshop.output), "--json"])
        found = json.loads(result.stdout)
        (state, line) = CliRunner().invoke(app, ["status", str(workshop.output)]).stdout.splitlines()
    assert found["state"] == "running"
    assert found["standing"] == json.loads(json.dumps(PROGRESS.to_event())) | {
        "pools": [{**PROGRESS.to_event()["pools"][0], "pids": [], "lengths": []}]
    }
    assert ": running (process " in state
    assert "as of 0 s ago" in state or "as of 1 s ago" in state
    assert line.strip() == (
        "100 of about 300 rows, 2 rejected, 250 tokens/s, 0:33 left (by tokens: 5,000 of about 15,000) | "
        "mood: 1,200 tokens queued, 3 +1 starting -2 leaving of 8 workers"
    )


def test_an_output_nobody_is_at_is_stopped_or_failed(workshop: Workshop) -> None:
    """A run that ended with an error says it; one that was killed says nothing."""
    folder = noted(workshop, ("start", {}), ("progress", PROGRESS.to_event()))
    assert status(folder.url).state == "stopped"
    log = EventLog(folder)
    log.write("start")
    log.write("failed", units=1, first="the disk is full")
    found = status(folder.url)
    assert (found.state, found.note, found.standing) == ("failed", "the disk is full", None)


@pytest.mark.slow
def test_a_run_that_fails_as_a_whole_is_failed_with_its_reason(workshop: Workshop) -> None:
    """No unit failed, but the manifest cannot be written."""
    workshop.numbered(8)
    job = workshop.job(output__path="faulty://bucket/failed")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with faults(Fault("write", "/failed/_manifest", full)):
        result = workshop.cli("run", job)
    assert result.exit_code == 1
    found = status("faulty://bucket/failed")
    assert (found.state, found.driver) == ("failed", None)
    assert found.note is not None
    assert os.strerror(errno.ENOSPC) in found.note
    assert f"error: {found.note}\n" == result.stderr


def test_a_folder_that_is_no_output_is_an_error(tmp_path: Path) -> None:
    """One line, exit code 1."""
    result = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert result.exit_code == 1
    assert "expected the output folder of a job" in result.stderr


def test_watching_goes_on_until_the_run_ends(workshop: Workshop) -> None:
    """A line when something changed, the last one when nobody is at work any more."""
    folder = noted(workshop, ("start", {}), ("progress", PROGRESS.to_event()))
    owner = owning(folder)
    owner.__enter__()
    looks = 0

    def pause(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            owner.__exit__(None, None, None)

    stream = io.StringIO()
    found = watch(folder.url, console=Console(file=stream, width=200), pause=pause)
    assert (looks, found.state) == (3, "stopped")
    assert "running" in stream.getvalue().splitlines()[0]
    assert "stopped" in stream.getvalue().splitlines()[-2]


def test_the_table_has_a_row_a_stage_with_what_each_does() -> None:
    """Rows read, a model's rate, queue, workers and waiting, rows committed; below it how far all is."""
    stream = io.StringIO()
    Console(file=stream, width=120).print(table(PROGRESS))
    head, read, mood, commit, summary = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert head == "stage rows tokens/s tokens queued workers waiting"
    assert (read, commit) == ("read, tokenize 180", "commit 100")
    assert mood in ("mood 250 1,200 3 +1 starting -2 leaving of 8 12%",)
    assert summary.endswith("0:33 left (by tokens: 5,000 of about 15,000)")


def test_an_event_of_a_later_version_is_read_all_the_same() -> None:
    """Unknown fields are left out."""
    event = PROGRESS.to_event() | {"mood": "good", "event": "progress", "time": time.time()}
    event["pools"][0]["colour"] = "blue"
    assert RunProgress.from_event(event) == PROGRESS
