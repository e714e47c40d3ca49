"""`_job/events.jsonl`: what happened when, for reports and for looking into a run; bounded in size."""

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
RARER = 500
"""The time since the start is divided by this for the interval later on: a week is 3,000 events."""
MOST = 5_000
"""Events of one kind that a run writes."""
LARGEST, KEPT = 32 << 20, 16 << 20
"""Bytes from which on a new run keeps only so many of the newest."""
ALWAYS = ("start", "finish", "failed", "omitted")


class EventLog:
    """Appends events; each line has `time` (seconds since the epoch) and `event`."""

    def __init__(self, folder: OutputFolder) -> None:
        if record_size(folder, FILE) > LARGEST:
            _keep_newest(folder)
        self._record = AppendLog(folder, FILE)
        self._began = self._last = time.monotonic()
        self._written: Counter[str] = Counter()
        self._omitted: Counter[str] = Counter()

    def write(self, event: str, **fields: Any) -> None:
        """Append an event, or count it where there were MOST of its kind; the end of a run says how many."""
        if event in ("finish", "failed") and self._omitted:
            self._add("omitted", {"events": dict(self._omitted)})
        if event not in ALWAYS and self._written[event] >= MOST:
            self._omitted[event] += 1
            return
        self._written[event] += 1
        self._add(event, fields)

    def close(self) -> None:
        """Write what a store was not sent yet."""
        self._record.close()

    def progress(self, tally: Tally) -> None:
        """Append how things stand, if it is time to."""
        now = time.monotonic()
        if now - self._last >= max(INTERVAL, (now - self._began) / RARER):
            self._last = now
            self.write("progress", **tally.standing().to_event())

    def _add(self, event: str, fields: dict[str, Any]) -> None:
        self._record.add(json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n")


def _keep_newest(folder: OutputFolder) -> None:
    kept = b"\n".join(record_lines(folder, FILE))[-KEPT:]
    drop_records(folder, FILE)
    folder.put(folder.job(FILE), kept[kept.find(b"\n") + 1 :] + b"\n")
