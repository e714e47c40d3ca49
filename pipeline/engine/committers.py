"""The actors that commit units, so that encoders never wait for a disk or an object store."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from corpusmill.pipeline.blocks import unpack_block
from corpusmill.pipeline.engine.ray_calls import CommitCall, RayCalls
from corpusmill.pipeline.engine.work import OpenUnit
from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.output.commit import commit
from corpusmill.pipeline.output.receipts import Receipt
from corpusmill.pipeline.output.rejects import ResultPart, join_result_parts, reject_rows
from corpusmill.pipeline.spec import InputSpec, OutputSpec

WORKERS_PER_COMMITTER = 16


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """A unit to commit; `starts` are the first rows of the parts of each model's result, in order."""

    split: Split
    starts: tuple[tuple[int, ...], ...]
    refused: Mapping[int, str]
    tokens: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A committed unit's receipt, the seconds that the commit took, and the id of its node."""

    receipt: Receipt
    seconds: float
    node: str


class CommitWorker:
    """An actor that commits units."""

    def __init__(self, reading: InputSpec, output: OutputSpec) -> None:
        self._reading, self._output = reading, output
        self._node = ray.get_runtime_context().get_node_id()

    def commit(self, packed: pa.Table, request: CommitRequest, *columns: pa.Table) -> Committed:
        """Commit one unit; `columns` are the parts of the first model's result, then of the second's, ..."""
        began = time.perf_counter()
        each = iter(columns)
        parts = [[ResultPart(start, next(each)) for start in starts] for starts in request.starts]
        results = [join_result_parts(of_model, request.refused) for of_model in parts]
        block = reject_rows(unpack_block(packed), request.refused, request.split, self._reading)
        receipt = commit(block, results, self._output, tokens=request.tokens)
        return Committed(receipt, time.perf_counter() - began, self._node)


def start_committer(reading: InputSpec, output: OutputSpec) -> Any:
    """Start a committer that commits up to four units at once; Ray may restart it, as it has no state."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=4)(CommitWorker)
    return actor.remote(reading, output)


class Committers:
    """The committers of a run, one per WORKERS_PER_COMMITTER encoders, and the calls to them."""

    def __init__(
        self, reading: InputSpec, output: OutputSpec, splits: Iterable[Split], calls: RayCalls
    ) -> None:
        self._reading, self._output = reading, output
        self._splits: Mapping[str, Split] = {split.key: split for split in splits}
        self._calls = calls
        self.actors: list[Any] = []

    def serve(self, workers: int) -> None:
        """Start the committers that are missing for so many encoders."""
        while len(self.actors) < 1 + workers // WORKERS_PER_COMMITTER:
            self.actors.append(start_committer(self._reading, self._output))

    def commit(self, unit: OpenUnit) -> None:
        """Have a committer commit a unit whose results are complete."""
        split = self._splits[split_key(unit.name)]
        starts = tuple(tuple(start for start, _ in result.columns) for result in unit.results)
        columns = [columns for result in unit.results for _, columns in result.columns]
        request = CommitRequest(split, starts, unit.refused, unit.tokens)
        committer = self.actors[self._calls.under_way(CommitCall) % len(self.actors)]
        self._calls.expect(committer.commit.remote(unit.block, request, *columns), CommitCall(unit))
