"""`_job/events.jsonl`: the events of all runs with their times, for reports and diagnosis; bounded."""

import json
import time
from collections import Counter
from typing import Any

from corpusmill.jobs.progress.tally import Tally
from corpusmill.pipeline.output.append_log import AppendLog, drop_records, record_lines, record_size
from corpusmill.pipeline.output.folder import OutputFolder

FILE = "events.jsonl"
INTERVAL = 10.0
"""Seconds between two progress events at first."""
INTERVAL_DIVISOR = 500
"""Later the interval is the time since the start divided by this: a week has 3,000 events."""
MAX_PER_KIND = 5_000
"""The most events of one kind that a run writes."""
MAX_BYTES, KEPT_BYTES = 32 << 20, 16 << 20
"""Above the first number of bytes, a new run keeps only the second number of the newest bytes."""
UNLIMITED = ("start", "finish", "failed", "omitted")


class EventLog:
    """A writer of events; each line has `time` (seconds since the epoch) and `event`."""

    def __init__(self, folder: OutputFolder) -> None:
        if record_size(folder, FILE) > MAX_BYTES:
            _keep_newest(folder)
        self._record = AppendLog(folder, FILE)
        self._began = self._last = time.monotonic()
        self._written: Counter[str] = Counter()
        self._omitted: Counter[str] = Counter()

    def write(self, event: str, **fields: Any) -> None:
        """Append an event, or only count it after MAX_PER_KIND of its kind; the end writes the count."""
        if event in ("finish", "failed") and self._omitted:
            self._add("omitted", {"events": dict(self._omitted)})
        if event not in UNLIMITED and self._written[event] >= MAX_PER_KIND:
            self._omitted[event] += 1
            return
        self._written[event] += 1
        self._add(event, fields)

    def close(self) -> None:
        """Write the lines that are still buffered."""
        self._record.close()

    def progress(self, tally: Tally) -> None:
        """Append a progress event if the interval is over."""
        now = time.monotonic()
        if now - self._last >= max(INTERVAL, (now - self._began) / INTERVAL_DIVISOR):
            self._last = now
            self.write("progress", **tally.progress().to_event())

    def _add(self, event: str, fields: dict[str, Any]) -> None:
        self._record.add(json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n")


def _keep_newest(folder: OutputFolder) -> None:
    kept = b"\n".join(record_lines(folder, FILE))[-KEPT_BYTES:]
    drop_records(folder, FILE)
    folder.put(folder.job(FILE), kept[kept.find(b"\n") + 1 :] + b"\n")
