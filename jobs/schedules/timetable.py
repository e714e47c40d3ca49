"""The due times of a schedule: cron fields in a time zone, as instants in UTC.

`cronsim` knows the calendar and cron's rules. Changes of the clock follow Debian's cron:

- A job at fixed times runs once. A time that the clock leaves out is due right after the gap. A time that
  the clock passes twice is due the first time.
- A job whose minute or hour starts with `*` follows the clock: no run in the gap, two in the repeated hour.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from corpusmill.jobs.errors import ScheduleError

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = {
    "minute": "a minute from 0 to 59",
    "hour": "an hour from 0 to 23",
    "day-of-month": "a day from 1 to 31 that exists in one of the months",
    "month": "a month from 1 to 12 or jan to dec",
    "day-of-week": "days of the week from 0 to 7 or sun to sat",
}
MAX_CLOCK_CHANGE = timedelta(hours=3)
"""The largest change of the clock by a zone, as in Debian's cron; a larger one corrects a wrong clock."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """Five valid cron fields and a zone."""

    cron: str
    zone: ZoneInfo

    def next_due(self, after: datetime) -> datetime | None:
        """Return the first time after an instant; None if there is none in 50 years."""
        first: datetime | None = None
        for due in self._times(after - MAX_CLOCK_CHANGE):
            if first is not None and due > first + MAX_CLOCK_CHANGE:
                break
            if due > after and (first is None or due < first):
                first = due
        return first

    def latest_due(self, now: datetime) -> datetime | None:
        """Return the last time up to an instant, the instant included; None if there is none in 50 years."""
        latest: datetime | None = None
        for due in self._times(now + MAX_CLOCK_CHANGE, reverse=True):
            if latest is not None and due < latest - MAX_CLOCK_CHANGE:
                break
            if due <= now and (latest is None or due > latest):
                latest = due
        return latest

    def _times(self, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        """Yield times from an instant on, in the order of the local clock."""
        local = start.astimezone(self.zone)
        if not self._follows_the_clock():
            for due in CronSim(self.cron, local, reverse=reverse):
                yield due.astimezone(UTC)
            return
        # cronsim gets no zone here. With one, cronsim 2.8 never returns for `*/15 2 * * *` in Pacific/Chatham
        # (clocks change at 02:45), and omits times in Australia/Lord_Howe (they change by 30 minutes).
        for due in CronSim(self.cron, local.replace(tzinfo=None), reverse=reverse):
            yield from self._instants(due)

    def _follows_the_clock(self) -> bool:
        return any(field.startswith("*") for field in self.cron.split()[:2])

    def _instants(self, local: datetime) -> list[datetime]:
        """Return the instants at which the zone's clock shows a time: one, two, or none."""
        both = {local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return sorted(one for one in both if one.astimezone(self.zone).replace(tzinfo=None) == local)


def timetable(cron: str, timezone: str) -> Timetable:
    """Return the timetable of five cron fields; a wrong field is a ScheduleError."""
    fields = cron.split()
    if len(fields) != 5:
        raise ScheduleError(
            'expected five fields, minute, hour, day, month and day of the week, such as "0 2 * * *"; '
            f"got {cron!r}"
        ).at("--cron")
    fields[4] = ",".join(_weekdays(part) for part in fields[4].lower().split(","))
    times = Timetable(" ".join(fields), _zone(timezone))
    try:
        CronSim(times.cron, datetime(2000, 1, 1))
    except CronSimError as error:
        raise _field_error(cron, str(error)) from None
    return times


def _field_error(cron: str, reason: str) -> ScheduleError:
    """Return the error of the field that cronsim names at the end of its reason."""
    name = reason.removeprefix("Bad ")
    got = dict(zip(FIELDS, cron.split(), strict=True)).get(name, cron)
    return ScheduleError(f"expected {FIELDS.get(name, name)}, got {got!r} in {cron!r}").at("--cron")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"expected a time zone such as Europe/Berlin, got {name!r}").at(
            "--timezone"
        ) from None


def _weekdays(part: str) -> str:
    """Return days of the week as every cron reads them, from `fri-mon`, `monday` or `1/3`."""
    match = re.fullmatch(r"(\w+)(?:-(\w+))?(?:/([1-9]\d*))?", part)
    if match is None:
        return part
    first, last, step = match.groups()
    start = _day(first)
    stop = _day(last) if last else 6 if step else start
    if start is None or stop is None:
        return part
    if start <= stop and (last or not step) and len(first) <= 3 and len(last or "") <= 3:
        return part
    end = stop + 7 if stop < start else stop
    return ",".join(str(day % 7) for day in range(start, end + 1, int(step or 1)))


def _day(text: str) -> int | None:
    if text[:3] in DAYS:
        return DAYS.index(text[:3])
    return int(text) if re.fullmatch("[0-7]", text) else None
