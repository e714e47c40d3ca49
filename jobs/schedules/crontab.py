"""A schedule as a line for cron."""

import shlex
from collections.abc import Iterator

from corpusmill.jobs.schedules.store import Schedule


def run_command(schedule: Schedule, job: str) -> list[str]:
    """Return the command that does a schedule's run; its own exit code says how it went."""
    return ["corpusmill", "run", job, "--json", "--incremental", *schedule.options]


def crontab_lines(schedule: Schedule) -> Iterator[str]:
    """Yield the lines of a crontab that does what the schedule does.

    TZ gives the run the date of the schedule's zone. CRON_TZ is known to cronie and busybox; Vixie cron, as
    in Debian, takes the machine's zone for the times.
    """
    command = shlex.join(run_command(schedule, schedule.job))
    line = f"cd {shlex.quote(schedule.folder)} && TZ={shlex.quote(schedule.timezone)} {command}"
    if schedule.on_failure:
        line += f" || {{ {schedule.on_failure}; }}"
    yield f"# {schedule.name}: a second run on one output is refused, so times that overlap do no harm"
    yield f"CRON_TZ={schedule.timezone}"
    yield f"{schedule.cron} {line.replace('%', chr(92) + '%')}"  # cron ends a command at a bare %
