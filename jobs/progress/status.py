"""How the run stands that writes an output, here or elsewhere: read from the output's own records."""

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
from corpusmill.jobs.progress.tally import Standing
from corpusmill.jobs.progress.view import line, table
from corpusmill.pipeline.output.append_log import last_lines
from corpusmill.pipeline.output.folder import OutputFolder

TAIL = 1 << 18
"""Bytes of the events that are looked at: the last progress is among them."""

EVERY = 2.0
"""Seconds between two looks; a store is asked as often."""


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """An output's state: running, finished, failed, or stopped (nobody is at it and it is not complete).

    `driver` is who is at work. `standing` is the last progress noted, `age` seconds ago; None where the run
    has noted none yet. `note` is why it failed, or what it holds.
    """

    output: str
    state: str
    driver: str | None
    age: float | None
    standing: Standing | None
    note: str | None = None


def status(output: str, now: float | None = None) -> OutputStatus:
    """Return how an output stands; OutputError where it is none."""
    folder, _ = open_output(output)
    owner = read_owner(folder)
    at = time.time() if now is None else now
    alive = owner is not None and not owner.is_dead(at)
    events = list(_events(folder))
    last = next((event for event in reversed(events) if event["event"] == "progress"), None)
    ended = next((event for event in reversed(events) if event["event"] != "omitted"), None)
    failed = not alive and ended is not None and ended["event"] == "failed"
    state = "running" if alive else "failed" if failed else "stopped"
    if not alive and folder.exists(folder.manifest):
        state = "finished"
    return OutputStatus(
        folder.url,
        state,
        str(owner) if alive else None,
        None if last is None else round(max(0.0, at - last["time"]), 1),
        None if last is None else Standing.from_event(last),
        _note(ended, state),
    )


def _note(ended: dict[str, Any] | None, state: str) -> str | None:
    if ended is not None and state == "failed":
        return str(ended["first"])
    if ended is not None and state == "finished" and ended["event"] == "finish":
        rejected = f", {ended['rejected']:,} rejected" if ended["rejected"] else ""
        return f"{ended['rows']:,} rows{rejected}, {ended['tokens']:,} tokens in {ended['units']} units"
    return None


def _events(folder: OutputFolder) -> Iterator[dict[str, Any]]:
    """Yield the last run's last events, those that are whole."""
    found: list[dict[str, Any]] = []
    for text in last_lines(folder, FILE, TAIL):
        try:
            event = json.loads(text)
        except ValueError:
            continue
        found = [event] if event["event"] == "start" else [*found, event]
    yield from found


def status_lines(found: OutputStatus) -> Iterator[str]:
    """Say how an output stands."""
    yield headline(found)
    if found.standing is not None:
        yield f"  {line(found.standing)}"


def headline(found: OutputStatus) -> str:
    """Return the state and who told it, and how old that is."""
    who = f" ({found.driver})" if found.driver else ""
    note = f": {found.note}" if found.note else ""
    age = ""
    if found.state == "running":
        age = ", no progress noted yet" if found.age is None else f", as of {found.age:.0f} s ago"
    return f"{found.output}: {found.state}{who}{age}{note}"


def status_view(found: OutputStatus) -> Group:
    """Return the same as a table for a terminal."""
    parts = [] if found.standing is None else [table(found.standing)]
    return Group(Text(headline(found), no_wrap=True, overflow="ellipsis"), *parts)


# `status --watch`: an output's status again and again, until nobody is at work on it any more.


def watch(
    output: str, *, console: Console | None = None, pause: Callable[[float], None] = time.sleep
) -> OutputStatus:
    """Show an output's status until its run has ended; a table on a terminal, lines elsewhere."""
    shown = console or Console(markup=False)
    with Live(console=shown, auto_refresh=False, transient=True) as live:
        before = ""
        while True:
            found = status(output)
            if shown.is_terminal:
                live.update(status_view(found), refresh=True)
            lines = "\n".join(status_lines(found))
            if not shown.is_terminal and lines != before:
                shown.print(lines, highlight=False, soft_wrap=True, markup=False)
                before = lines
            if found.state != "running":
                break
            pause(EVERY)
    if shown.is_terminal:
        shown.print(status_view(found))
    return found
