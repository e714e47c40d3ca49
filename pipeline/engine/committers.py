"""The actors that write units, so that encoders never wait for a disk or an object store."""

from collections.abc import Iterable, Mapping
from typing import Any

import ray

from corpusmill.pipeline.engine.work import Ticket
from corpusmill.pipeline.engine.workers import Done, start_committer
from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.spec import InputSpec, OutputSpec

WORKERS_PER_COMMITTER = 16


class Committers:
    """Hands finished units to committers, of which there are more where there are more encoders."""

    def __init__(self, reading: InputSpec, output: OutputSpec, splits: Iterable[Split]) -> None:
        self._reading, self._output = reading, output
        self._splits: Mapping[str, Split] = {split.key: split for split in splits}
        self.actors: list[Any] = []
        self.commits: dict[Any, Ticket] = {}

    def serve(self, workers: int) -> None:
        """Have enough committers for so many encoders."""
        while len(self.actors) < 1 + workers // WORKERS_PER_COMMITTER:
            self.actors.append(start_committer(self._reading, self._output))

    def commit(self, ticket: Ticket) -> None:
        """Have a unit written that every model is done with."""
        split = self._splits[split_key(ticket.summary.unit.name)]
        starts = tuple(tuple(start for start, _ in share.parts) for share in ticket.shares)
        columns = [columns for share in ticket.shares for _, columns in share.parts]
        done = Done(split, starts, ticket.refused, ticket.tokens)
        committer = self.actors[len(self.commits) % len(self.actors)]
        self.commits[committer.commit.remote(ticket.row, done, *columns)] = ticket

    def finish(self, seconds: float) -> None:
        """Wait for the commits under way, so long at most."""
        if self.commits:
            ray.wait(list(self.commits), num_returns=len(self.commits), timeout=seconds)
