"""`schedule`: jobs that run at set times."""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, print_result
from corpusmill.jobs.cli.options import DEBUG, EXECUTOR, JOB, JSON, SET, parse_executor
from corpusmill.jobs.cli.plain_help import PlainTyper

if TYPE_CHECKING:
    from corpusmill.jobs.schedules.store import Run, Schedule

STORE = Annotated[
    str | None,
    typer.Option(metavar="FILE", envvar="CORPUSMILL_SCHEDULES", help="The SQLite file with the schedules."),
]
NAME = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
group = PlainTyper(
    no_args_is_help=True, help="Run jobs at set times; each run processes new and changed inputs."
)


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A schedule, its next due time, and its last run."""

    schedule: "Schedule"
    due: str | None
    last: "Run | None"


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """The output of `schedule list`."""

    schedules: tuple[ScheduleEntry, ...]


@dataclass(frozen=True, slots=True)
class History:
    """The output of `schedule history`."""

    runs: "tuple[Run, ...]"


@group.command()
def add(
    job: JOB,
    cron: Annotated[
        str, typer.Option(metavar="FIELDS", help='When to run, in five cron fields: "0 2 * * *".')
    ],
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="The time zone, such as Europe/Berlin.")
    ] = "UTC",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the schedule; default: the name of the job.")
    ] = None,
    set_: SET = None,
    executor: EXECUTOR = "ray",
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A running Ray cluster; without it, each run starts its own."),
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND", help="A shell command to run after a failed run; it gets $CORPUSMILL_REASON."
        ),
    ] = None,
    store: STORE = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Add a schedule; `corpusmill schedule serve` runs it.

    Example: corpusmill schedule add reviews.yaml --cron "0 2 * * *" --timezone Europe/Berlin
    """
    parse_executor(executor)

    def act() -> None:
        from corpusmill.jobs import JobConfig
        from corpusmill.jobs.schedules.store import Schedule, Store

        config = JobConfig.from_yaml(job, set_ or ())
        options = [part for setting in set_ or () for part in ("--set", setting)]
        options += ["--executor", executor] if executor != "ray" else []
        options += ["--address", address] if address else []
        chosen = name or re.sub(r"[^A-Za-z0-9._-]+", "-", config.name).strip("-") or "job"
        path = str(Path(job).absolute())
        new_schedule = Schedule(chosen, path, str(Path.cwd()), cron, timezone, tuple(options), on_failure)
        due = Store(store).add(new_schedule, datetime.now(UTC))
        print_result(
            ScheduleEntry(new_schedule, _local(new_schedule, due), None), _entry_lines, as_json=as_json
        )

    guarded(act, debug=debug)


@group.command("list")
def list_(store: STORE = None, as_json: JSON = False, debug: DEBUG = False) -> None:
    """List the schedules, each with its next due time and the state of its last run.

    Example: corpusmill schedule list
    """

    def act() -> None:
        from corpusmill.jobs.schedules.store import Store

        schedules = Store(store)
        entries = tuple(
            ScheduleEntry(
                one.schedule,
                _local(one.schedule, one.due),
                next(iter(schedules.runs(one.schedule.name, limit=1)), None),
            )
            for one in schedules.scheduled()
        )
        print_result(ScheduleList(entries), _schedule_lines, as_json=as_json)

    guarded(act, debug=debug)


@group.command()
def remove(name: NAME, store: STORE = None, debug: DEBUG = False) -> None:
    """Remove a schedule; its history stays, and a running run goes on.

    Example: corpusmill schedule remove reviews
    """

    def act() -> None:
        from corpusmill.jobs.schedules.store import Store

        Store(store).remove(name)
        print(f"removed {name}")

    guarded(act, debug=debug)


@group.command()
def history(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show the runs of this schedule only.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="The number of runs to show.")] = 20,
    store: STORE = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show the runs, the newest first: new rows, new rejects and seconds of each.

    Example: corpusmill schedule history reviews
    """

    def act() -> None:
        from corpusmill.jobs.schedules.store import Store

        schedules = Store(store)
        runs = schedules.runs(name, limit=limit)
        if name is not None and not runs:
            schedules.schedule(name)
        print_result(History(tuple(runs)), _history_lines, as_json=as_json)

    guarded(act, debug=debug)


@group.command()
def serve(
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Schedules that may run at once.")] = 4,
    store: STORE = None,
    debug: DEBUG = False,
) -> None:
    """Run the schedules when they are due, until Ctrl-C. Several missed times become one run.

    Example: corpusmill schedule serve
    """

    def act() -> None:
        from corpusmill.jobs.schedules.serve import serve as serve_store
        from corpusmill.jobs.schedules.store import Store

        serve_store(Store(store), workers=workers)

    again = ["corpusmill", "schedule", "serve", *(["--store", store] if store else [])]
    guarded(act, debug=debug, again=shlex.join(again))


@group.command()
def export(
    name: NAME,
    to: Annotated[str, typer.Option(metavar="crontab|kubernetes", help="The target of the export.")],
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Kubernetes: an image with corpusmill in it.")
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Kubernetes: the most workers that KubeRay may start.")
    ] = 4,
    store: STORE = None,
    debug: DEBUG = False,
) -> None:
    """Print a schedule for cron, or for Kubernetes: a CronJob and a KubeRay RayJob.

    Example: corpusmill schedule export reviews --to kubernetes --image registry/corpusmill:1
    """
    if to not in ("crontab", "kubernetes"):
        raise typer.BadParameter(f"expected crontab or kubernetes, got {to!r}", param_hint="--to")
    if to == "kubernetes" and not image:
        raise typer.BadParameter("is required: an image with corpusmill in it", param_hint="--image")

    def act() -> None:
        from corpusmill.jobs.schedules.kubernetes import crontab_lines, manifests
        from corpusmill.jobs.schedules.store import Store

        schedule = Store(store).schedule(name)
        if to == "crontab":
            print("\n".join(crontab_lines(schedule)))
        else:
            sys.stdout.write(manifests(schedule, image or "", workers=workers))

    guarded(act, debug=debug)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="schedule")


def _local(schedule: "Schedule", due: datetime | None) -> str | None:
    """Return a due time as the clock of the schedule's zone shows it."""
    return None if due is None else due.astimezone(schedule.timetable().zone).isoformat()


def _entry_lines(entry: ScheduleEntry) -> Iterator[str]:
    last = f"; last run {entry.last.state}" if entry.last else ""
    yield (
        f"{entry.schedule.name}: {entry.schedule.cron} {entry.schedule.timezone}, "
        f"due {entry.due or 'never'}{last} -> {entry.schedule.job}"
    )


def _schedule_lines(schedule_list: ScheduleList) -> Iterator[str]:
    for entry in schedule_list.schedules:
        yield from _entry_lines(entry)
    if not schedule_list.schedules:
        yield "no schedules; add one with: corpusmill schedule add JOB.yaml --cron ..."


def _history_lines(listing: History) -> Iterator[str]:
    for run in listing.runs:
        started = f"{datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M:%S}"
        counts = ""
        if run.rows is not None:
            counts = f"{run.rows:>12,} rows {run.rejected:>8,} rejected {run.seconds:>9,.1f} s  {run.output}"
        yield f"{run.id:>5} {run.schedule:20} {run.run_date} {started} {run.state:12}{counts}{run.message}"
    if not listing.runs:
        yield "no runs yet"
