"""`status --watch`: an output's status again and again, until nobody is at work on it any more."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from corpusmill.jobs.status import OutputStatus, status, status_lines, status_view

EVERY = 2.0
"""Seconds between two looks; a store is asked as often."""


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
