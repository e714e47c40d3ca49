"""`schedule`: jobs at set times."""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corpusmill.jobs.cli.guard import guarded, printed
from corpusmill.jobs.cli.options import DEBUG, JOB, JSON, SET, executor_named
from corpusmill.jobs.cli.plain_help import PlainTyper

if TYPE_CHECKING:
    from corpusmill.jobs.schedules.store import Run, Schedule

STORE = Annotated[
    str | None,
    typer.Option(metavar="FILE", envvar="CORPUSMILL_SCHEDULES", help="The SQLite file with the schedules."),
]
NAME = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
group = PlainTyper(no_args_is_help=True, help="Run jobs at set times; each run does what is new or changed.")


@dataclass(frozen=True, slots=True)
class Entry:
    """A schedule, when it is due next, and how its last run went."""

    schedule: "Schedule"
    due: str | None
    last: "Run | None"


@dataclass(frozen=True, slots=True)
class Entries:
    """What `schedule list` prints."""

    schedules: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What `schedule history` prints."""

    runs: "tuple[Run, ...]"


@group.command()
def add(
    job: JOB,
    cron: Annotated[str, typer.Option(metavar="FIELDS", help='When, as cron writes it: "0 2 * * *".')],
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Such as Europe/Berlin.")] = "UTC",
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Default: the job's own name.")] = None,
    set_: SET = None,
    executor: Annotated[
        str, typer.Option(metavar="ray|inline", help="inline: one process without Ray, for a few rows.")
    ] = "ray",
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A running Ray cluster; else one per run.")
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="A shell command for runs that fail; see $CORPUSMILL_REASON."),
    ] = None,
    store: STORE = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Add a schedule; `corpusmill schedule serve` runs it.

    Example: corpusmill schedule add reviews.yaml --cron "0 2 * * *" --timezone Europe/Berlin
    """
    executor_named(executor)

    def act() -> None:
        from corpusmill.jobs import JobConfig
        from corpusmill.jobs.schedules.store import Schedule, Store

        config = JobConfig.from_yaml(job, set_ or ())
        options = [part for setting in set_ or () for part in ("--set", setting)]
        options += ["--executor", executor] if executor != "ray" else []
        options += ["--address", address] if address else []
        chosen = name or re.sub(r"[^A-Za-z0-9._-]+", "-", config.name).strip("-") or "job"
        path = str(Path(job).absolute())
        made = Schedule(chosen, path, str(Path.cwd()), cron, timezone, tuple(options), on_failure)
        due = Store(store).add(made, datetime.now(UTC))
        printed(Entry(made, _local(made, due), None), _entry_lines, as_json=as_json)

    guarded(act, debug=debug)


@group.command("list")
def list_(store: STORE = None, as_json: JSON = False, debug: DEBUG = False) -> None:
    """List the schedules: when they are due next, and how their last runs went.

    Example: corpusmill schedule list
    """

    def act() -> None:
        from corpusmill.jobs.schedules.store import Store

        found = Store(store)
        entries = tuple(
            Entry(
                one.schedule,
                _local(one.schedule, one.due),
                next(iter(found.runs(one.schedule.name, limit=1)), None),
            )
            for one in found.scheduled()
        )
        printed(Entries(entries), _list_lines, as_json=as_json)

    guarded(act, debug=debug)


@group.command()
def remove(name: NAME, store: STORE = None, debug: DEBUG = False) -> None:
    """Remove a schedule; its history stays, and a run that is under way ends as it would.

    Example: corpusmill schedule remove reviews
    """

    def act() -> None:
        from corpusmill.jobs.schedules.store import Store

        Store(store).remove(name)
        print(f"removed {name}")

    guarded(act, debug=debug)


@group.command()
def history(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of one schedule only.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="So many of the newest.")] = 20,
    store: STORE = None,
    as_json: JSON = False,
    debug: DEBUG = False,
) -> None:
    """Show runs, the newest first: rows and rejects that each added, and the seconds it took.

    Example: corpusmill schedule history reviews
    """

    def act() -> None:
        from corpusmill.jobs.schedules.store import Store

        found = Store(store)
        runs = found.runs(name, limit=limit)
        if name is not None and not runs:
            found.schedule(name)
        printed(History(tuple(runs)), _history_lines, as_json=as_json)

    guarded(act, debug=debug)


@group.command()
def serve(
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Schedules that may run at once.")] = 4,
    store: STORE = None,
    debug: DEBUG = False,
) -> None:
    """Run the schedules when they are due, until Ctrl-C. Times missed meanwhile count once.

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
    to: Annotated[str, typer.Option(metavar="crontab|kubernetes", help="What reads it.")],
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Kubernetes: an image with corpusmill in it.")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Kubernetes: at most so many on Ray.")] = 4,
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


def _entry_lines(entry: Entry) -> Iterator[str]:
    last = f"; last run {entry.last.state}" if entry.last else ""
    yield (
        f"{entry.schedule.name}: {entry.schedule.cron} {entry.schedule.timezone}, "
        f"due {entry.due or 'never'}{last} -> {entry.schedule.job}"
    )


def _list_lines(found: Entries) -> Iterator[str]:
    for entry in found.schedules:
        yield from _entry_lines(entry)
    if not found.schedules:
        yield "no schedules; add one with: corpusmill schedule add JOB.yaml --cron ..."


def _history_lines(found: History) -> Iterator[str]:
    for run in found.runs:
        started = f"{datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M:%S}"
        counts = ""
        if run.rows is not None:
            counts = f"{run.rows:>12,} rows {run.rejected:>8,} rejected {run.seconds:>9,.1f} s  {run.output}"
        yield f"{run.id:>5} {run.schedule:20} {run.run_date} {started} {run.state:12}{counts}{run.message}"
    if not found.runs:
        yield "no runs yet"
