"""A run's standing for people: a table on a terminal, one line elsewhere."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from corpusmill.jobs.progress.tally import Standing
from corpusmill.pipeline.engine.messages import PoolState


def table(standing: Standing) -> Group:
    """Return a row a stage, and below it how far all is."""
    grid = Table(box=None, pad_edge=False, header_style="dim")
    grid.add_column("stage")
    for name in ("rows", "tokens/s", "tokens queued", "workers", "waiting"):
        grid.add_column(name, justify="right")
    grid.add_row("read, tokenize", f"{standing.rows_read:,}", "", "", "", "")
    for pool in standing.pools:
        grid.add_row(
            Text(pool.model),
            "",
            f"{pool.tokens_per_second:,.0f}",
            f"{pool.queued_tokens:,}",
            workers(pool),
            f"{pool.waiting_share:.0%}",
        )
    grid.add_row("commit", f"{standing.rows:,}", "", "", "", "")
    return Group(grid, Text(far(standing), no_wrap=True, overflow="ellipsis"))


def line(standing: Standing) -> str:
    """Return rows, rate, time left, and per model its queue and workers, on one line."""
    models = "; ".join(
        f"{pool.model}: {pool.queued_tokens:,} tokens queued, {workers(pool)} workers"
        for pool in standing.pools
    )
    return f"{far(standing)} | {models}"


def workers(pool: PoolState) -> str:
    """Return the ready workers, those starting and leaving, and the most there may be."""
    starting = f" +{pool.starting} starting" if pool.starting else ""
    draining = f" -{pool.draining} leaving" if pool.draining else ""
    return f"{pool.workers}{starting}{draining} of {pool.max_workers}"


def far(standing: Standing) -> str:
    """Return the counts and the time left, with what it is told from."""
    about = "" if standing.rows_exact else "about "
    rejected = f", {standing.rejected:,} rejected" if standing.rejected else ""
    return (
        f"{standing.rows:,} of {about}{standing.rows_expected:,} rows{rejected}, "
        f"{standing.tokens_per_second:,.0f} tokens/s{left(standing)}"
    )


def left(standing: Standing) -> str:
    """Return the time left and its basis, or nothing while it is unknown."""
    if standing.seconds_left is None:
        return ""
    basis = ""
    if standing.tokens_expected is not None:
        basis = f" (by tokens: {standing.tokens:,} of about {standing.tokens_expected:,})"
    return f", {clock(standing.seconds_left)} left{basis}"


def clock(seconds: float) -> str:
    """Return minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
