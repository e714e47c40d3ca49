"""The live progress of a run on standard error: a table on a terminal, else a line from time to time."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live

from corpusmill.jobs.progress.tally import Tally
from corpusmill.jobs.progress.view import one_line, table
from corpusmill.pipeline.engine.messages import EngineState

LINE_INTERVAL = 10.0
"""Seconds between two lines where standard error is no terminal."""
REDRAW_INTERVAL = 0.25
"""Seconds between two tables on a terminal."""


class Progress:
    """The display of a tally: redrawn on a terminal, else a line every LINE_INTERVAL seconds."""

    def __init__(self, tally: Tally, *, enabled: bool) -> None:
        self.tally = tally
        self._console = Console(stderr=True, markup=False)
        self._enabled = enabled
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True)
            if self._console.is_terminal and enabled
            else None
        )
        self._noted: set[str] = set()
        self._interval = LINE_INTERVAL if self._live is None else REDRAW_INTERVAL
        self._next = time.monotonic() + self._interval

    def show(self, state: EngineState) -> None:
        """Show the progress if the interval is over."""
        self.tally.observe(state)
        if not self._enabled or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._interval
        if self._live is not None:
            self._live.update(table(self.tally.progress()), refresh=True)
        else:
            print(one_line(self.tally.progress()), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Print a note that stays above the redrawn table."""
        if self._enabled:
            self._console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)

    def note_once(self, text: str) -> None:
        """Print a note that many workers may send, only once."""
        if text not in self._noted:
            self._noted.add(text)
            self.note(text)

    def __enter__(self) -> "Progress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
