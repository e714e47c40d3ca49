"""The progress of a run for people: a table on a terminal, else one line."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from corpusmill.jobs.progress.tally import RunProgress
from corpusmill.pipeline.engine.messages import PoolState


def table(progress: RunProgress) -> Group:
    """Return a table with one row per stage, and the summary below it."""
    grid = Table(box=None, pad_edge=False, header_style="dim")
    grid.add_column("stage")
    for name in ("rows", "tokens/s", "tokens queued", "workers", "waiting"):
        grid.add_column(name, justify="right")
    grid.add_row("read, tokenize", f"{progress.rows_read:,}", "", "", "", "")
    for pool in progress.pools:
        grid.add_row(
            Text(pool.model),
            "",
            f"{pool.tokens_per_second:,.0f}",
            f"{pool.queued_tokens:,}",
            workers(pool),
            f"{pool.waiting_share:.0%}",
        )
    grid.add_row("commit", f"{progress.rows:,}", "", "", "", "")
    return Group(grid, Text(summary(progress), no_wrap=True, overflow="ellipsis"))


def one_line(progress: RunProgress) -> str:
    """Return rows, rate, time left, and the queue and workers of each model, on one line."""
    models = "; ".join(
        f"{pool.model}: {pool.queued_tokens:,} tokens queued, {workers(pool)} workers"
        for pool in progress.pools
    )
    return f"{summary(progress)} | {models}"


def workers(pool: PoolState) -> str:
    """Return the counts of ready, starting and leaving workers, and the most that are allowed."""
    starting = f" +{pool.starting} starting" if pool.starting else ""
    draining = f" -{pool.draining} leaving" if pool.draining else ""
    return f"{pool.workers}{starting}{draining} of {pool.max_workers}"


def summary(progress: RunProgress) -> str:
    """Return the counts, the rate and the time left."""
    about = "" if progress.rows_exact else "about "
    rejected = f", {progress.rejected:,} rejected" if progress.rejected else ""
    return (
        f"{progress.rows:,} of {about}{progress.rows_expected:,} rows{rejected}, "
        f"{progress.tokens_per_second:,.0f} tokens/s{eta(progress)}"
    )


def eta(progress: RunProgress) -> str:
    """Return the time left and its basis; "" while it is unknown."""
    if progress.seconds_left is None:
        return ""
    basis = ""
    if progress.tokens_expected is not None:
        basis = f" (by tokens: {progress.tokens:,} of about {progress.tokens_expected:,})"
    return f", {duration(progress.seconds_left)} left{basis}"


def duration(seconds: float) -> str:
    """Return a duration as m:ss, or h:mm:ss from one hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
