"""Times as cron writes them: what they mean, and what is refused."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from corpusmill.jobs.schedules.problems import ScheduleError
from corpusmill.jobs.schedules.timing import latest_due, trigger

THURSDAY = datetime(2026, 11, 26, 12, 0, tzinfo=ZoneInfo("UTC"))


def next_days(cron: str, count: int = 7) -> list[str]:
    """The days of the next times, as names."""
    found, due = trigger(cron, "UTC"), THURSDAY
    names = []
    for _ in range(count):
        due = found.get_next_fire_time(due, due)
        names.append(f"{due:%a}")
    return names


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", {"Sun"}),
        ("7", {"Sun"}),
        ("1", {"Mon"}),
        ("1-5", {"Mon", "Tue", "Wed", "Thu", "Fri"}),
        ("fri-sun", {"Fri", "Sat", "Sun"}),
        ("6-7", {"Sat", "Sun"}),
        ("Mon,WED", {"Mon", "Wed"}),
        ("*/2", {"Sun", "Tue", "Thu", "Sat"}),
        ("1/3", {"Mon", "Thu"}),
        ("*", {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}),
    ],
)
def test_days_of_the_week_are_crons(field: str, days: set[str]) -> None:
    """Sunday is 0 and 7, where APScheduler's own numbers begin on Monday."""
    assert set(next_days(f"0 2 * * {field}", 10)) == days


def test_times_are_those_of_the_zone() -> None:
    """Two in the night in Berlin is one o'clock UTC in winter, midnight in summer."""
    found = trigger("0 2 * * *", "Europe/Berlin")
    assert found.get_next_fire_time(None, THURSDAY).astimezone(ZoneInfo("UTC")).hour == 1
    summer = datetime(2026, 7, 1, tzinfo=ZoneInfo("UTC"))
    assert found.get_next_fire_time(None, summer).astimezone(ZoneInfo("UTC")).hour == 0


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("50 23 * * *", "2026-11-25T23:50:00+00:00"),
        ("*/5 * * * *", "2026-11-26T12:00:00+00:00"),
        ("0 0 1 1 *", "2026-01-01T00:00:00+00:00"),
    ],
)
def test_the_latest_due_time_gives_a_run_its_date(cron: str, expected: str) -> None:
    """A run of 23:50 that starts after midnight is the day before's."""
    assert latest_due(trigger(cron, "UTC"), THURSDAY).isoformat() == expected


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 2 * *", "expected five fields"),
        ("@daily", "expected five fields"),
        ("0 25 * * *", "higher than the maximum value"),
        ("0 2 * * 8", "expected days of the week"),
        ("0 2 * * someday", "expected days of the week"),
        ("0 2 1 * 1", "got both"),
        ("x 2 * * *", "Unrecognized expression"),
    ],
)
def test_a_wrong_time_is_said(cron: str, words: str) -> None:
    """With the option to change."""
    with pytest.raises(ScheduleError, match=words) as error:
        trigger(cron, "UTC")
    assert error.value.field == "--cron"
    with pytest.raises(ScheduleError, match="time zone such as"):
        trigger("0 2 * * *", "Europe/Berln")
