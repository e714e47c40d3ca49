"""The state of a unit in the engine: its results, its open work items, and a model's queue."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from corpusmill.pipeline.blocks import UnitSummary
from corpusmill.pipeline.encode.encoded import EncodeStats


@dataclass(eq=False)
class UnitResult:
    """One model's result of a unit, as far as it is computed.

    `open_items` counts the work items that are not done. `columns` holds (first row, reference of the
    columns) of each one that is done. `refused` maps each row that the model cannot take to the reason.
    """

    open_items: int = 1
    columns: list[tuple[int, Any]] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    deaths: int = 0
    failed: str | None = None


@dataclass(eq=False)
class OpenUnit:
    """A unit that is not committed yet: the reference of its block, and one result per model of the job.

    `bytes` is the block's size. `losses` counts how often an object of the unit was lost.
    """

    block: Any
    bytes: int
    summary: UnitSummary
    results: list[UnitResult]
    losses: int = 0

    @property
    def name(self) -> str:
        """The unit's name."""
        return self.summary.unit.name

    @property
    def done(self) -> bool:
        """Whether no model has an open work item of the unit."""
        return all(result.open_items == 0 for result in self.results)

    @property
    def failed(self) -> str | None:
        """Why a model gave the unit up; None if none did."""
        return next((result.failed for result in self.results if result.failed), None)

    @property
    def refused(self) -> dict[int, str]:
        """The rows that some model cannot take, with the first model's reason."""
        refused: dict[int, str] = {}
        for result in reversed(self.results):
            refused |= result.refused
        return refused

    @property
    def tokens(self) -> int:
        """The tokens that all models computed."""
        return sum(result.tokens for result in self.results)

    def start_again(self) -> None:
        """Forget all results."""
        self.results = [UnitResult() for _ in self.results]


@dataclass(eq=False)
class WorkItem:
    """Rows `start` to `stop` of a unit, for one model.

    `unit_tokens` counts the tokens of the whole unit in this model's tokenization. `deaths` counts the
    workers that died while they computed the item. An item that may have ended a worker is `alone`: the
    worker that computes it next gets no other item at the same time.
    """

    unit: OpenUnit
    result: UnitResult
    start: int
    stop: int
    unit_tokens: int
    deaths: int = 0
    alone: bool = False

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stop - self.start

    @property
    def whole(self) -> bool:
        """Whether the item has all rows of the unit."""
        return self.rows == self.unit.summary.rows

    @property
    def tokens(self) -> int:
        """The item's part of the unit's tokens, as if every row had the same number."""
        return self.unit_tokens * self.rows // max(self.unit.summary.rows, 1)

    def cut(self, count: int) -> list["WorkItem"]:
        """Return at most `count` items that replace this one."""
        step = -(-self.rows // count)
        starts = range(self.start, self.stop, step)
        self.result.open_items += len(starts) - 1
        return [replace(self, start=at, stop=min(at + step, self.stop), deaths=0) for at in starts]

    def encoded(self, columns: Any, stats: EncodeStats) -> None:
        """Add the columns that a worker computed to the result."""
        self.result.open_items -= 1
        self.result.columns.append((self.start, columns))
        self.result.tokens += stats.tokens
        self._refuse(stats.refused)

    def refuse(self, reason: str) -> None:
        """Close the item: the model cannot take its only row."""
        self.result.open_items -= 1
        self._refuse({0: reason})

    def give_up(self, reason: str) -> None:
        """Close the item and fail the unit; the first reason stays."""
        self.result.open_items -= 1
        self.result.failed = self.result.failed or reason

    def _refuse(self, rows: Mapping[int, str]) -> None:
        self.result.refused |= {self.start + row: reason for row, reason in rows.items()}


class Queue:
    """The work items that wait for the job's `index`-th model, in order; `tokens` counts their tokens."""

    def __init__(self, index: int, tokenizer: str) -> None:
        self.tokens = 0
        self._index, self._tokenizer = index, tokenizer
        self._items: deque[WorkItem] = deque()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def first(self) -> WorkItem:
        """The next work item."""
        return self._items[0]

    def add(self, unit: OpenUnit) -> None:
        """Put a unit at the end, as one work item."""
        summary = unit.summary
        tokens = summary.tokens.get(self._tokenizer, 0)
        item = WorkItem(unit, unit.results[self._index], 0, summary.rows, tokens)
        self._items.append(item)
        self.tokens += item.tokens

    def pop(self) -> WorkItem:
        """Take the next work item."""
        item = self._items.popleft()
        self.tokens -= item.tokens
        return item

    def put_back(self, items: list[WorkItem]) -> None:
        """Put work items before all others, in this order."""
        self._items.extendleft(reversed(items))
        self.tokens += sum(item.tokens for item in items)

    def drop(self, result: UnitResult) -> None:
        """Remove the waiting work items of a result that is given up."""
        dropped = [item for item in self._items if item.result is result]
        self._items = deque(item for item in self._items if item.result is not result)
        result.open_items -= len(dropped)
        self.tokens -= sum(item.tokens for item in dropped)
