"""The state and progress of an output, from its own records; its run may be on another machine."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from corpusmill.jobs.driver.events import FILE
from corpusmill.jobs.driver.fingerprint import open_output
from corpusmill.jobs.driver.owner import read_owner
from corpusmill.jobs.progress.tally import RunProgress
from corpusmill.jobs.progress.view import one_line, table
from corpusmill.pipeline.output.append_log import last_lines
from corpusmill.pipeline.output.folder import OutputFolder

TAIL_BYTES = 1 << 18
"""Bytes that are read from the end of the events: the last progress is among them."""

POLL_INTERVAL = 2.0
"""Seconds between two reads of the records."""


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """An output's state: running, finished, failed, or stopped (it has no driver and is not complete).

    `driver` is the running driver. `standing` is the last written progress, `age` seconds old; both are None
    before the first one. `note` is the reason of a failure, or the counts of a finished output. The field
    names are the keys of `status --json`.
    """

    output: str
    state: str
    driver: str | None
    age: float | None
    standing: RunProgress | None
    note: str | None = None


def status(output: str, now: float | None = None) -> OutputStatus:
    """Return the status of an output; a folder without a job's output is an OutputError."""
    folder, _ = open_output(output)
    owner = read_owner(folder)
    at = time.time() if now is None else now
    alive = owner is not None and not owner.is_dead(at)
    events = list(_events(folder))
    last_progress = next((event for event in reversed(events) if event["event"] == "progress"), None)
    last_event = next((event for event in reversed(events) if event["event"] != "omitted"), None)
    failed = not alive and last_event is not None and last_event["event"] == "failed"
    state = "running" if alive else "failed" if failed else "stopped"
    if not alive and folder.exists(folder.manifest):
        state = "finished"
    return OutputStatus(
        folder.url,
        state,
        str(owner) if alive else None,
        None if last_progress is None else round(max(0.0, at - last_progress["time"]), 1),
        None if last_progress is None else RunProgress.from_event(last_progress),
        _note(last_event, state),
    )


def _note(last_event: dict[str, Any] | None, state: str) -> str | None:
    if last_event is not None and state == "failed":
        return str(last_event["first"])
    if last_event is not None and state == "finished" and last_event["event"] == "finish":
        rows, rejected, tokens, units = (last_event[key] for key in ("rows", "rejected", "tokens", "units"))
        rejects = f", {rejected:,} rejected" if rejected else ""
        return f"{rows:,} rows{rejects}, {tokens:,} tokens in {units} units"
    return None


def _events(folder: OutputFolder) -> Iterator[dict[str, Any]]:
    """Yield the complete last events of the last run."""
    events: list[dict[str, Any]] = []
    for text in last_lines(folder, FILE, TAIL_BYTES):
        try:
            event = json.loads(text)
        except ValueError:
            continue
        events = [event] if event["event"] == "start" else [*events, event]
    yield from events


def status_lines(output_status: OutputStatus) -> Iterator[str]:
    """Yield the lines that people read."""
    yield headline(output_status)
    if output_status.standing is not None:
        yield f"  {one_line(output_status.standing)}"


def headline(output_status: OutputStatus) -> str:
    """Return the state, the driver, the age of the progress, and the note."""
    who = f" ({output_status.driver})" if output_status.driver else ""
    note = f": {output_status.note}" if output_status.note else ""
    age = ""
    if output_status.state == "running":
        age = ", no progress yet" if output_status.age is None else f", as of {output_status.age:.0f} s ago"
    return f"{output_status.output}: {output_status.state}{who}{age}{note}"


def status_view(output_status: OutputStatus) -> Group:
    """Return the status as a table for a terminal."""
    parts = [] if output_status.standing is None else [table(output_status.standing)]
    return Group(Text(headline(output_status), no_wrap=True, overflow="ellipsis"), *parts)


# `status --watch`: the status of an output, again and again until its run has ended.


def watch(
    output: str, *, console: Console | None = None, pause: Callable[[float], None] = time.sleep
) -> OutputStatus:
    """Show an output's status until its run has ended; a table on a terminal, lines elsewhere."""
    shown = console or Console(markup=False)
    with Live(console=shown, auto_refresh=False, transient=True) as live:
        before = ""
        while True:
            output_status = status(output)
            if shown.is_terminal:
                live.update(status_view(output_status), refresh=True)
            lines = "\n".join(status_lines(output_status))
            if not shown.is_terminal and lines != before:
                shown.print(lines, highlight=False, soft_wrap=True, markup=False)
                before = lines
            if output_status.state != "running":
                break
            pause(POLL_INTERVAL)
    if shown.is_terminal:
        shown.print(status_view(output_status))
    return output_status
