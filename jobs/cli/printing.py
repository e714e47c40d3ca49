"""The lines that the commands print for people; `--json` prints the same records."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corpusmill.jobs.convert import Converted
    from corpusmill.jobs.driver.result import RunResult
    from corpusmill.jobs.plan.plan import PlanResult
    from corpusmill.jobs.verify.verify import VerifyResult

BAR = 40


def run_lines(result: "RunResult") -> Iterator[str]:
    """Yield the counts of a finished run."""
    skipped = f" ({result.skipped_units} were done before)" if result.skipped_units else ""
    yield (
        f"{result.rows:,} rows, {result.tokens:,} tokens in {result.units} units{skipped}, "
        f"{result.seconds:.1f} s -> {result.output}"
    )
    for stage in result.stages:
        if stage.truncated_rows and stage.rows:
            rows = f"{stage.truncated_rows:,} of {stage.rows:,} rows"
            yield f"  {stage.model}: {rows} ({stage.truncated_rows / stage.rows:.1%}) were truncated"


def plan_lines(result: "PlanResult") -> Iterator[str]:
    """Yield the plan of a job, with a histogram of token counts."""
    about = "" if result.rows_exact else "about "
    yield (
        f"{result.files} file(s), {result.bytes / 1e6:,.1f} MB, {result.units} units, "
        f"{about}{result.rows:,} rows -> {result.output}"
    )
    widest = max(result.length_histogram.values(), default=1)
    for name, count in result.length_histogram.items():
        yield f"  {name:>7} tokens {'#' * round(BAR * count / widest):{BAR}} {count}"
    for model in result.models:
        yield (
            f"  {model.model} on {model.device} in {model.dtype}: {model.tokens:,} tokens at "
            f"{model.tokens_per_second:,.0f} tokens/s with {model.workers} worker(s): {model.seconds:,.0f} s"
        )
        if model.truncated_share:
            yield (
                f"    about {model.truncated_rows:,} rows ({model.truncated_share:.1%}) would be truncated"
            )
    cost = "" if result.cost is None else f", costs {result.cost:,.2f}"
    yield (
        f"about {result.seconds:,.0f} s with start-up, {result.worker_hours:.2f} worker-hours{cost}, "
        f"{result.output_bytes / 1e6:,.1f} MB of output"
    )


def verify_lines(result: "VerifyResult") -> Iterator[str]:
    """Yield the problems, then the counts."""
    yield from result.problems
    state = "complete" if result.complete else "unfinished"
    if result.stale:
        yield f"{len(result.stale)} file(s) of changed or removed inputs; show them with: corpusmill prune"
    yield from (f"  stale: {name}" for name in result.stale)
    yield (
        f"{'ok' if result.ok else 'NOT OK'}: {result.units} units, {result.rows} rows, "
        f"{result.rejected} rejected, {state}"
    )


def convert_lines(result: "Converted") -> Iterator[str]:
    """Yield what was converted."""
    yield (
        f"{result.framework} {result.model_type}: {result.tensors:,} tensors, {result.parameters:,} "
        f"parameters, {result.bytes / 1e6:,.1f} MB -> {result.target}"
    )
    for note in result.notes:
        yield f"  {note}"
