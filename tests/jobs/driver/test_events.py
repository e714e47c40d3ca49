"""The events of a run are bounded: progress ever more rarely, so many of a kind, so many bytes in all."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpusmill.jobs.driver import events
from corpusmill.jobs.driver.events import EventLog
from corpusmill.jobs.progress.tally import Tally
from corpusmill.pipeline.output.folder import OutputFolder

REMOTE = "memory://events-test"


def written(folder: OutputFolder) -> list[dict[str, Any]]:
    """All events."""
    return [json.loads(line) for line in events.record_lines(folder, events.FILE)]


@pytest.fixture(params=["local", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> OutputFolder:
    """An output on a disk, and one on a store."""
    url = str(tmp_path / "out") if request.param == "local" else f"{REMOTE}/{tmp_path.name}"
    found = OutputFolder.of(url, "arrow")
    found.put(found.job("fingerprint.json"), b"{}")
    return found


def test_progress_comes_every_ten_seconds_and_later_more_rarely(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week is some 3,000 of them."""
    clock = [0.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: clock[0])
    log = EventLog(folder)
    tally = Tally((), ())
    for second in range(0, 7 * 24 * 3600, 5):
        clock[0] = float(second)
        log.progress(tally)
    log.close()
    found = written(folder)
    assert 2_000 < len(found) < 4_000
    assert {event["event"] for event in found} == {"progress"}


def test_of_each_kind_so_many_are_written_and_the_others_counted(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the run is always there."""
    monkeypatch.setattr(events, "MAX_PER_KIND", 3)
    log = EventLog(folder)
    log.write("start")
    for number in range(10):
        log.write("worker_lost", pid=number)
    log.write("scaling")
    log.write("finish")
    log.close()
    found = written(folder)
    kinds = [event["event"] for event in found]
    assert kinds == ["start", *["worker_lost"] * 3, "scaling", "omitted", "finish"]
    assert found[-2]["events"] == {"worker_lost": 7}


def test_a_new_run_keeps_the_newest_of_too_many(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole lines of the end, whatever the pieces they lay in."""
    monkeypatch.setattr(events, "MAX_BYTES", 2_000)
    monkeypatch.setattr(events, "KEPT_BYTES", 1_000)
    for run in range(4):
        log = EventLog(folder)
        for number in range(10):
            log.write("worker_lost", run=run, number=number)
        log.close()
    found = written(folder)
    assert found[-1]["run"] == 3
    assert found[-1]["number"] == 9
    numbers = [event["run"] * 10 + event["number"] for event in found]
    assert numbers == list(range(numbers[0], 40))
    assert 10 < len(found) < 40
