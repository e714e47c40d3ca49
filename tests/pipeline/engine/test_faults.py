"""The search for rows that end their worker: exactly these are refused, with few deaths."""

from collections import deque

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ray.exceptions import RayActorError

from corpusmill.pipeline.blocks import UnitSummary
from corpusmill.pipeline.encode.encoded import EncodeStats
from corpusmill.pipeline.engine.faults import (
    DIED,
    MAX_DEATHS_IN_A_UNIT,
    OUT_OF_MEMORY,
    Death,
    HangTimeout,
    RestartLimits,
    SlowestWorker,
    retry,
    try_alone,
)
from corpusmill.pipeline.engine.work import OpenUnit, UnitResult, WorkItem
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.input.units import Unit

HANGS = Death("took longer than 2 seconds", certain=True)


def unit_of(rows: int) -> WorkItem:
    """A unit of so many rows as one work item."""
    result = UnitResult()
    summary = UnitSummary(Unit("u", "/in", 0, 0), rows, 0, {}, None)
    return WorkItem(OpenUnit(object(), 1, summary, [result]), result, 0, rows, 10 * rows)


def search(item: WorkItem, bad: set[int], death: Death = DIED) -> UnitResult:
    """Encode a unit whose `bad` rows end their worker, until nothing is open."""
    waiting = deque([item])
    while waiting:
        item = waiting.popleft()
        if bad & set(range(item.start, item.stop)):
            waiting.extendleft(reversed(retry(item, death)))
        else:
            item.encoded(range(item.start, item.stop), EncodeStats(item.tokens, 1))
        if item.result.failed:
            item.result.open_items -= len(waiting)
            waiting.clear()
    assert item.result.open_items == 0
    return item.result


@example(rows=3, bad={0, 1, 2}, death=DIED)
@given(
    rows=st.integers(1, 500),
    bad=st.sets(st.integers(0, 499), max_size=6),
    death=st.sampled_from([DIED, HANGS]),
)
def test_exactly_the_rows_at_fault_are_refused(rows: int, bad: set[int], death: Death) -> None:
    """Every other row is encoded once; a unit of nothing but such rows still gets columns."""
    bad = {row for row in bad if row < rows}
    result = search(unit_of(rows), bad, death)
    assert result.failed is None
    assert set(result.refused) == bad
    assert sorted(row for _, columns in result.columns for row in columns) == sorted(set(range(rows)) - bad)
    assert result.columns


def test_a_row_is_refused_with_the_reason() -> None:
    """The reason is the number of deaths, or the death that is certainly the row's fault."""
    assert search(unit_of(40), {7}).refused == {7: "ended its worker 2 times, encoded alone"}
    assert search(unit_of(40), {7}, HANGS).refused == {7: "took longer than 2 seconds, encoded alone"}
    assert search(unit_of(40), {7}, OUT_OF_MEMORY).refused == {
        7: "ended its worker 2 times, the last time as its node had no memory left, encoded alone"
    }


def test_a_unit_with_too_many_rows_at_fault_fails() -> None:
    """The unit fails at the limit of deaths."""
    result = search(unit_of(1_000), set(range(1_000)))
    assert result.deaths == MAX_DEATHS_IN_A_UNIT
    assert result.failed is not None
    assert result.failed.startswith("64 workers died on its rows, the limit for one unit; the model")


def test_items_beside_each_other_are_tried_alone() -> None:
    """Only the items that were computed; a single item is at fault."""
    items = [unit_of(3) for _ in range(3)]
    assert try_alone(items, at_once=2)
    assert [item.alone for item in items] == [True, True, False]
    assert not try_alone(items, at_once=1)


def test_a_whole_unit_is_suspected_after_its_third_death() -> None:
    """Before that another cause is likelier; a unit that hangs is suspected at once."""
    item = unit_of(32)
    assert [retry(item, DIED), retry(item, DIED)] == [[item], [item]]
    assert [part.rows for part in retry(item, DIED)] == [2] * 16
    assert [part.rows for part in retry(unit_of(32), HANGS)] == [2] * 16


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_that_only_die_end_the_job(workers: int) -> None:
    """After 20 deaths in a row per worker that the pool has; one work item that is finished counts anew."""
    limits = RestartLimits("vec")
    for _ in range(20 * workers - 1):
        limits.died(workers)
    limits.finished()
    for _ in range(20 * workers - 1):
        limits.died(workers)
    with pytest.raises(JobFailed, match=f"model vec: {20 * workers} workers in a row died and none finished"):
        limits.died(workers)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_that_die_while_loading_end_the_job(workers: int) -> None:
    """After three in a row per worker that the pool has; one worker that has loaded the model counts anew."""
    limits = RestartLimits("vec")
    for _ in range(3 * workers - 1):
        limits.died_starting(RayActorError(), workers)
    limits.started()
    for _ in range(3 * workers - 1):
        limits.died_starting(RayActorError(), workers)
    with pytest.raises(JobFailed, match=f"model vec: {3 * workers} workers in a row died while loading"):
        limits.died_starting(RayActorError(), workers)


def test_the_timeout_follows_the_slowest_worker() -> None:
    """At first from a rate that every machine exceeds, later twenty times that of the slowest worker."""
    slowest = SlowestWorker(HangTimeout(), assumed=1.0)
    assert slowest.timeout(1_000) == 1_000.0
    slowest.note(1, 10_000, 10.0)
    slowest.note(2, 10_000, 100.0)
    assert slowest.timeout(10_000) == pytest.approx(20 * 100.0)
    assert slowest.timeout(1) == 120.0
