"""`_job/events.jsonl`: what happened when, for reports and for looking into a run afterwards."""

import json
import time
from dataclasses import asdict
from typing import Any

from corpusmill.jobs.progress import Tally
from corpusmill.pipeline.engine.outcomes import EngineState
from corpusmill.pipeline.output import OutputFolder
from corpusmill.pipeline.records import Record

FILE = "events.jsonl"
INTERVAL = 10.0
"""Seconds between two progress events, which bounds the file: 26,000 lines in three days."""


class EventLog:
    """Appends events; each line has `time` (seconds since the epoch) and `event`."""

    def __init__(self, folder: OutputFolder) -> None:
        self._record = Record(folder, FILE)
        self._last = time.monotonic()

    def write(self, event: str, **fields: Any) -> None:
        """Append an event."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **fields})
        self._record.add(line + "\n")

    def close(self) -> None:
        """Write what a store was not sent yet."""
        self._record.close()

    def progress(self, tally: Tally, state: EngineState) -> None:
        """Append how things stand, at most every INTERVAL seconds."""
        now = time.monotonic()
        if now - self._last >= INTERVAL:
            self._last = now
            self.write(
                "progress",
                rows=tally.rows,
                rejected=tally.rejected,
                tokens=state.encoded_tokens,
                pools=[asdict(pool) for pool in state.pools],
            )
