"""What a run says of itself while it runs: plain lines where standard error is no terminal."""

import re
from pathlib import Path

import pytest
from workshop import Workshop

from corpusmill.jobs import JobConfig, run
from corpusmill.jobs.progress import live
from corpusmill.jobs.progress.live import Progress
from corpusmill.jobs.progress.tally import Tally

LINE = re.compile(
    r"\d+ of about \d+ rows(, \d+ rejected)?, [\d,]+ tokens/s(, \d+:\d\d left.*)? \| "
    r"\S+: [\d,]+ tokens queued, 1 of 1 workers"
)


def test_lines_are_plain_where_there_is_no_terminal(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One at a time on standard error, without colours or moves of the cursor."""
    monkeypatch.setattr(live, "LINE_INTERVAL", 0.0)
    workshop.numbered(40)
    run(JobConfig.from_dict(workshop.fields()), executor="inline", show_progress=True)
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) >= 3
    assert all(LINE.fullmatch(line) for line in lines), err
    assert "\x1b" not in err
    # The last line comes before the last unit is committed, the first before any is.
    rows = [int(line.split()[0]) for line in lines]
    assert rows == sorted(rows)
    assert rows[0] < rows[-1] <= 40


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Every ten seconds, or a log of a long run would be nothing else."""
    now = 0.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    shown = Progress(Tally((), ()), enabled=True)
    monkeypatch.setattr(Tally, "observe", lambda *_: None)
    monkeypatch.setattr(live, "one_line", lambda _: "a line")
    printed = []
    for now in map(float, range(0, 50, 3)):
        shown.show(None)  # type: ignore[arg-type]
        if capfd.readouterr().err:
            printed.append(now)
    assert printed == [12.0, 24.0, 36.0, 48.0]


def test_a_run_that_nobody_watches_is_silent(workshop: Workshop, capfd: pytest.CaptureFixture[str]) -> None:
    """As from Python, where nothing was asked for; notes too."""
    workshop.numbered(8)
    run(JobConfig.from_dict(workshop.fields()), executor="inline")
    Progress(Tally((), ()), enabled=False).note("not shown")
    assert capfd.readouterr() == ("", "")


def test_a_note_is_one_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """However long, and whatever brackets are in it."""
    text = f"[m]: {'up to 8 workers ' * 20}{tmp_path}"
    Progress(Tally((), ()), enabled=True).note(text)
    assert capfd.readouterr() == ("", f"note: {text}\n")
