"""The clock changes of 2026, and cron's rule for them, stated without cronsim."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

MINUTE = timedelta(minutes=1)
AROUND = timedelta(hours=3)


@dataclass(frozen=True)
class Change:
    """The first instant of a zone's new offset."""

    zone: str
    at: datetime

    def minutes(self) -> list[datetime]:
        """The instants around the change, a minute apart."""
        return [self.at + k * MINUTE for k in range(-(AROUND // MINUTE), AROUND // MINUTE)]


def local(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clock shows."""
    return instant.astimezone(zone).replace(tzinfo=None)


def runs_of_cron(change: Change, minutes: set[int], hours: set[int], *, fixed: bool) -> list[datetime]:
    """When Debian's cron starts a job of each day.

    It follows the clock for a job with wildcards. For a job at fixed times it looks at each minute of local
    time once: after a gap at all minutes of the gap, in a repeated hour at none.
    """
    zone = ZoneInfo(change.zone)
    found, seen = [], local(change.minutes()[0] - MINUTE, zone)
    for instant in change.minutes():
        shown = local(instant, zone)
        passed = [seen + k * MINUTE for k in range(1, (shown - seen) // MINUTE + 1)] if fixed else [shown]
        seen = max(seen, shown)
        if any(time.minute in minutes and time.hour in hours for time in passed):
            found.append(instant)
    return found


@cache
def clock_changes() -> tuple[Change, ...]:
    """All of 2026, one zone for those whose clocks change alike."""
    first, days = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
    instants = [first + k * days for k in range(366)]
    found = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        offsets = [one.astimezone(zone).utcoffset() for one in instants]
        spans = zip(pairwise(instants), pairwise(offsets), strict=True)
        changes = [_first_of(end, start, zone) for (start, end), (old, new) in spans if old != new]
        shown = tuple((one, local(one, zone), local(one - MINUTE, zone)) for one in changes)
        found.setdefault(shown, [Change(name, one) for one in changes])
    return tuple(change for changes in found.values() for change in changes)


def _first_of(late: datetime, early: datetime, zone: ZoneInfo) -> datetime:
    """Where between two instants the offset becomes that of the later one."""
    offset = late.astimezone(zone).utcoffset()
    while late - early > MINUTE:
        middle = early + (late - early) // MINUTE // 2 * MINUTE
        early, late = (early, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, late)
    return late
