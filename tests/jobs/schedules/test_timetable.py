"""Times as cron writes them: what they mean, also when clocks change, and what is refused."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from support.clock_changes import Change, clock_changes, runs_of_cron

from corpusmill.jobs.errors import ScheduleError
from corpusmill.jobs.schedules.timetable import timetable

THURSDAY = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
ALL_HOURS = set(range(24))
QUARTERS = {0, 15, 30, 45}


def next_times(
    cron: str, count: int = 10, *, after: datetime = THURSDAY, zone: str = "UTC"
) -> list[datetime]:
    """The next times."""
    times, due, found = timetable(cron, zone), after, []
    for _ in range(count):
        following = times.next_due(due)
        assert following is not None
        assert following > due
        due = following
        found.append(due)
    return found


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", {"Sun"}),
        ("7", {"Sun"}),
        ("1", {"Mon"}),
        ("1-5", {"Mon", "Tue", "Wed", "Thu", "Fri"}),
        ("fri-sun", {"Fri", "Sat", "Sun"}),
        ("sat-mon", {"Sat", "Sun", "Mon"}),
        ("6-7", {"Sat", "Sun"}),
        ("Mon,WED", {"Mon", "Wed"}),
        ("monday", {"Mon"}),
        ("*/2", {"Sun", "Tue", "Thu", "Sat"}),
        ("1/3", {"Mon", "Thu"}),
        ("*", {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}),
    ],
)
def test_days_of_the_week_are_crons(field: str, days: set[str]) -> None:
    """Sunday is 0 and 7; a range of names may go beyond it."""
    assert {f"{due:%a}" for due in next_times(f"0 2 * * {field}")} == days


def test_either_day_is_enough() -> None:
    """A day of the month and one of the week: cron runs on both, and with a star on what matches both."""
    either = [f"{due:%a %d}" for due in next_times("0 2 13 * fri", 6)]
    assert either == ["Fri 27", "Fri 04", "Fri 11", "Sun 13", "Fri 18", "Fri 25"]
    assert {due.day % 2 for due in next_times("0 2 */2 * fri")} == {1}


def test_times_are_those_of_the_zone() -> None:
    """Two in the night in Berlin is one o'clock UTC in winter, midnight in summer."""
    (winter,) = next_times("0 2 * * *", 1, zone="Europe/Berlin")
    (summer,) = next_times("0 2 * * *", 1, after=datetime(2026, 7, 1, tzinfo=UTC), zone="Europe/Berlin")
    assert (winter.hour, summer.hour) == (1, 0)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("50 23 * * *", "2026-11-25T23:50:00+00:00"),
        ("*/5 * * * *", "2026-11-26T12:00:00+00:00"),
        ("0 0 1 1 *", "2026-01-01T00:00:00+00:00"),
        ("0 0 29 2 *", "2024-02-29T00:00:00+00:00"),
    ],
)
def test_the_latest_due_time_gives_a_run_its_date(cron: str, expected: str) -> None:
    """A run of 23:50 that starts after midnight is the day before's."""
    latest = timetable(cron, "UTC").latest_due(THURSDAY)
    assert latest is not None
    assert latest.isoformat() == expected


@pytest.mark.parametrize(
    ("cron", "zone", "now", "expected"),
    [
        ("0 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00+00:00", "2026-10-25T00:00:00+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00+00:00", "2026-10-25T00:30:00+00:00"),
        ("*/15 2 * * *", "Pacific/Chatham", "2026-04-04T10:30:00+00:00", "2026-04-03T13:00:00+00:00"),
    ],
)
def test_the_latest_due_time_is_found_when_clocks_go_back(
    cron: str, zone: str, now: str, expected: str
) -> None:
    """In a process of its own: what is wrong here never returns."""
    program = (
        "import sys; from datetime import datetime; "
        "from corpusmill.jobs.schedules.timetable import timetable; "
        "print(timetable(*sys.argv[1:3]).latest_due(datetime.fromisoformat(sys.argv[3])).isoformat())"
    )
    command = [sys.executable, "-P", "-c", program, cron, zone, now]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == expected, done.stderr


def test_the_changes_are_those_of_the_database() -> None:
    """Twice a year in most zones that change clocks: by an hour, half an hour, two hours."""
    changes = clock_changes()
    assert len({change.zone for change in changes}) >= 20
    moves = {
        abs(after.astimezone(zone).utcoffset() - before.astimezone(zone).utcoffset())  # type: ignore[operator]
        for change in changes
        for zone in [ZoneInfo(change.zone)]
        for after, before in [(change.at, change.at - SECOND)]
    }
    assert {HOUR / 2, HOUR, 2 * HOUR} <= moves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cron", "minutes", "hours"),
    [
        ("0 2 * * *", {0}, {2}),
        ("30 1 * * *", {30}, {1}),
        ("*/15 * * * *", QUARTERS, ALL_HOURS),
        ("30 0,23 * * *", {30}, {0, 23}),
        ("*/15 2 * * *", QUARTERS, {2}),
        ("45 * * * *", {45}, ALL_HOURS),
    ],
)
def test_runs_are_crons_in_every_zone_when_clocks_change(
    cron: str, minutes: set[int], hours: set[int]
) -> None:
    """A server's minutes around each change of 2026: each run at its minute, none more, none less."""
    fixed = "*" not in " ".join(cron.split()[:2])
    for change in clock_changes():
        expected = runs_of_cron(change, minutes, hours, fixed=fixed)
        assert served(cron, change) == expected, change
        times = timetable(cron, change.zone)
        for run in expected:
            assert times.latest_due(run) == run, change


def served(cron: str, change: Change) -> list[datetime]:
    """The minutes at which a server starts a run."""
    times, found = timetable(cron, change.zone), []
    due = times.next_due(change.minutes()[0] - SECOND)
    for now in change.minutes():
        if due is not None and due <= now:
            found.append(now)
            due = times.next_due(now)
    return found


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 2 * *", "expected five fields"),
        ("0 0 2 * * *", "expected five fields"),
        ("@daily", "expected five fields"),
        ("0 25 * * *", "expected an hour from 0 to 23, got '25'"),
        ("0 2 0 * *", "expected a day from 1 to 31"),
        ("0 2 31 2 *", "that exists in one of the months, got '31'"),
        ("0 2 * 13 *", "expected a month from 1 to 12"),
        ("0 2 * * 8", "expected days of the week"),
        ("0 2 * * someday", "expected days of the week"),
        ("0 2 * * 1,", "expected days of the week"),
        ("x 2 * * *", "expected a minute from 0 to 59, got 'x'"),
        ("*/0 2 * * *", "expected a minute from 0 to 59"),
    ],
)
def test_a_wrong_time_is_said(cron: str, words: str) -> None:
    """With the option to change."""
    with pytest.raises(ScheduleError, match=words) as error:
        timetable(cron, "UTC")
    assert error.value.field == "--cron"


@pytest.mark.parametrize("zone", ["Europe/Berln", "", "../../etc/passwd", "Europe"])
def test_a_wrong_zone_is_said(zone: str) -> None:
    """With the option to change."""
    with pytest.raises(ScheduleError, match="time zone such as") as error:
        timetable("0 2 * * *", zone)
    assert error.value.field == "--timezone"
