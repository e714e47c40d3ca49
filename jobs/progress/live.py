"""Showing how far a run is: a table on a terminal, a line now and then elsewhere, on standard error."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live

from corpusmill.jobs.progress.tally import Tally
from corpusmill.jobs.progress.view import line, table
from corpusmill.pipeline.engine.messages import EngineState

LINE_INTERVAL = 10.0
"""Seconds between two lines where standard error is no terminal."""
REDRAWN = 0.25
"""Seconds between two tables on a terminal."""


class Progress:
    """Shows a tally: redrawn on a terminal, a line every LINE_INTERVAL seconds elsewhere."""

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
        self._every = LINE_INTERVAL if self._live is None else REDRAWN
        self._next = time.monotonic() + self._every

    def show(self, state: EngineState) -> None:
        """Show how things stand, if it is time to."""
        self.tally.observe(state)
        if not self._enabled or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every
        if self._live is not None:
            self._live.update(table(self.tally.standing()), refresh=True)
        else:
            print(line(self.tally.standing()), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Say something that stays, above what is redrawn."""
        if self._enabled:
            self._console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)

    def note_once(self, text: str) -> None:
        """Say something that many workers may find, the first time only."""
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
