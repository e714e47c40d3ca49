"""Times written as cron writes them, in a time zone."""

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from corpusmill.jobs.schedules.extras import extra
from corpusmill.jobs.schedules.problems import ScheduleError

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WINDOWS = (timedelta(hours=2), timedelta(days=2), timedelta(days=70), timedelta(days=3000))


def trigger(cron: str, timezone: str) -> Any:
    """Return APScheduler's trigger of five cron fields; ScheduleError says which field is wrong.

    APScheduler counts days of the week from Monday, cron from Sunday; and where a day of the month and one of
    the week are given, cron runs on either, APScheduler on both: such a pair is refused.
    """
    fields = cron.split()
    if len(fields) != 5:
        raise ScheduleError(
            'expected five fields, minute, hour, day, month and day of the week, such as "0 2 * * *"; '
            f"got {cron!r}"
        ).at("--cron")
    if fields[2] != "*" and fields[4] != "*":
        raise ScheduleError(
            f"expected a day of the month or days of the week, got both in {cron!r}; add two schedules"
        ).at("--cron")
    minute, hour, day, month, week = fields
    cron_trigger = extra("apscheduler.triggers.cron").CronTrigger
    try:
        return cron_trigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_week(week), timezone=zone(timezone)
        )
    except ValueError as error:
        raise ScheduleError(f"{cron!r}: {error}").at("--cron") from None


def zone(name: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"expected a time zone such as Europe/Berlin, got {name!r}").at(
            "--timezone"
        ) from None


def latest_due(found: Any, now: datetime) -> datetime:
    """Return the last time up to now at which a trigger fires; now itself where there was none."""
    for window in WINDOWS:
        last = None
        due = found.get_next_fire_time(None, now - window)
        while due is not None and due <= now:
            last = due
            due = found.get_next_fire_time(due, due + timedelta(seconds=1))
        if last is not None:
            return datetime.fromtimestamp(last.timestamp(), found.timezone)
    return now.astimezone(found.timezone)


def _week(field: str) -> str:
    """Write cron's days of the week, 0 and 7 for Sunday, by their names."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.lower().split(","):
        match = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/([1-9]\d*))?", part)
        if match is None:
            raise ScheduleError(f"expected days of the week such as 1-5 or mon,fri, got {field!r}").at(
                "--cron"
            )
        first, last, step = match.groups()
        start = 0 if first == "*" else _day(first, field)
        stop = _day(last, field) if last else 6 if first == "*" or step else start
        stop += 7 if stop < start else 0
        days |= {day % 7 for day in range(start, stop + 1, int(step or 1))}
    return ",".join(DAYS[day] for day in sorted(days))


def _day(text: str, field: str) -> int:
    if text[:3] in DAYS:
        return DAYS.index(text[:3])
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ScheduleError(f"expected days of the week from 0 to 7 or sun to sat, got {field!r}").at("--cron")
