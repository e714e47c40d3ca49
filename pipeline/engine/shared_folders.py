"""Local paths on a cluster of several machines: every node has to see the same files as the driver.

Ray may read, encode or commit a unit on any node. On a node with other disks a local input is missing, and a
local output is written where nobody looks for it. So the driver asks each node before the first unit, and
each node that joins later as soon as it notices the node. A unit that a node committed before it was asked
counts only if the driver itself sees the data file.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from corpusmill.pipeline.checkpoints.find import local_files
from corpusmill.pipeline.engine.ray_calls import answer_to
from corpusmill.pipeline.errors import CorpusmillError, InputError, JobFailed
from corpusmill.pipeline.input.planning import Pending
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.writes import TEMPORARY
from corpusmill.pipeline.spec import PipelineSpec
from corpusmill.pipeline.storage import is_local, locate, stat_file

T = TypeVar("T")
LISTED = 2.0
"""Seconds between two listings of the cluster's nodes."""
ANSWERED = 60.0
"""Seconds for which the driver waits for nodes; a slower node is treated as one that joins later."""
HEARTBEAT = 0.2
LOOKS = 3
"""How often a node looks for a file: a network file system may show a new one late."""
PAUSE = 1.0
"""Seconds between two looks."""
SAMPLED = 64
"""Input files that each node looks for, and as many folders of which it looks for one file each."""
REMEDY = (
    "put it on an object store (s3://...) or on a mount that all nodes share, or run on this machine alone "
    "with --executor inline"
)


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file as the driver sees it, the field of the job file, and the path that messages show.

    `mark` is None where the time of the last change does not matter: a checkpoint may be copied to each node.
    """

    field: str
    title: str
    path: str
    size: int
    mark: str | None = None

    def found(self) -> str:
        """Return what differs on this node; "" if the file is the driver's."""
        try:
            there = stat_file(self.path)
        except InputError:
            return "does not see it"
        if there.size != self.size or self.mark not in (None, there.mark):
            return "sees another one"
        return ""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A file that a node does not see as the driver does, and what differs."""

    file: SharedFile
    found: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster: its id, its address as messages show it, and whether it can read or encode."""

    id: str
    name: str
    works: bool


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def _look(files: Sequence[SharedFile]) -> list[Unseen]:
    """Return the files that this node does not see."""
    unseen: list[Unseen] = []
    for attempt in range(LOOKS):
        time.sleep(PAUSE if attempt else 0.0)
        unseen = [Unseen(file, found) for file in files if (found := file.found())]
        if not unseen:
            break
    return unseen


class SharedFolders:
    """Asks the nodes whether they see a job's local files; JobFailed names a node that does not."""

    def __init__(self, spec: PipelineSpec, pending: Sequence[Pending]) -> None:
        self._spec, self._pending = spec, pending
        self._output = OutputFolder.of(spec.output.url, spec.output.format)
        self._marker = self._output.job(f".shared-{uuid.uuid4().hex}{TEMPORARY}")
        self._files: list[SharedFile] | None = None
        self._checked: set[str] = set()
        self._asked: dict[Any, Node] = {}
        self._unseen: list[Unseen] = []
        self._listed = self._deadline = 0.0
        self._closed = False

    def check(self) -> Iterator[None]:
        """Ask every node and wait for the answers, with a heartbeat meanwhile."""
        self._ask()
        while self._asked and time.monotonic() < self._deadline:
            self._take(HEARTBEAT)
            yield
        self._refuse()

    def look(self, now: float) -> None:
        """Ask the nodes that have joined, and act on the answers that have come."""
        if now - self._listed >= LISTED:
            self._ask()
        self._take(0.0)
        self._refuse()

    def settle(self) -> None:
        """Ask the nodes that have joined and wait for all answers: a failure may be a node's fault."""
        if not (self._closed or self._unseen):
            for _ in self.check():
                pass

    def confirm(self, unit: str, node: str) -> None:
        """Raise JobFailed where a node that was not asked yet has committed a unit elsewhere."""
        if node in self._checked or self._closed or not _is_local(self._output.url):
            return
        if not self._output.exists(self._output.data(unit)):
            name = next((each.name for each in _nodes(alive=False) if each.id == node), node)
            file = SharedFile("output.path", self._output.url, self._output.data(unit), 0)
            self._unseen.append(Unseen(file, f"wrote unit {unit} elsewhere", name))
            self._refuse()

    def close(self) -> None:
        """Remove the marker; from here on nothing is asked or refused."""
        self._closed = True
        if self._files is not None:
            with contextlib.suppress(CorpusmillError):  # the next run sweeps it
                self._output.remove(self._marker)

    def _ask(self) -> None:
        self._listed = time.monotonic()
        nodes = _nodes()
        if self._files is None and [node.id for node in nodes] == [ray.get_runtime_context().get_node_id()]:
            self._checked.add(nodes[0].id)
            return
        asked = {node.id for node in self._asked.values()}
        for node in nodes:
            if node.id not in self._checked | asked and (files := self._wanted(node)):
                self._asked[_on(node, files)] = node
                self._deadline = self._listed + ANSWERED

    def _wanted(self, node: Node) -> list[SharedFile]:
        """Return the files that a node has to see; a node without CPU and GPU may hold a committer."""
        if self._files is None:
            self._files = [*self._marked(), *_inputs(self._pending), *_checkpoints(self._spec)]
        return [file for file in self._files if node.works or file.path == self._marker]

    def _marked(self) -> Iterator[SharedFile]:
        if _is_local(self._output.url):
            token = uuid.uuid4().hex.encode()
            self._output.put(self._marker, token)
            yield SharedFile("output.path", self._output.url, self._marker, len(token))

    def _take(self, timeout: float) -> None:
        if not self._asked:
            return
        ready, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=timeout)
        for reference in ready:
            node, answer = self._asked.pop(reference), answer_to(reference)
            if isinstance(answer, RayError):
                continue  # the node is going, or is asked again with the next listing
            if not answer:
                self._checked.add(node.id)
            self._unseen += [replace(unseen, node=node.name) for unseen in answer]

    def _refuse(self) -> None:
        if self._unseen:
            raise _refusal(self._unseen)


def _refusal(unseen: Sequence[Unseen]) -> JobFailed:
    first = unseen[0]
    others = len({each.node for each in unseen}) - 1
    nodes = f"node {first.node}" + (f" (and {others} others)" if others else "")
    return JobFailed(
        f"{first.file.field}: expected every node of the cluster to see {first.file.title} as the driver "
        f"does, but {nodes} {first.found}; {REMEDY}"
    )


def _nodes(*, alive: bool = True) -> list[Node]:
    return [_node(found) for found in ray.nodes() if found["Alive"] or not alive]


def _node(found: dict[str, Any]) -> Node:
    address, host = found["NodeManagerAddress"], found.get("NodeManagerHostname")
    resources = found.get("Resources", {})
    name = f"{address} ({host})" if host and host != address else address
    return Node(found["NodeID"], name, bool(resources.get("CPU") or resources.get("GPU")))


def _on(node: Node, files: list[SharedFile]) -> Any:
    pinned = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return _look.options(scheduling_strategy=pinned).remote(files)


def _inputs(pending: Sequence[Pending]) -> Iterator[SharedFile]:
    """Yield some local input files: one of each folder, and some of all, as they are now."""
    files = dict.fromkeys(each.split.file.url for each in pending if _is_local(each.split.file.url))
    folders = {url.rpartition("/")[0]: url for url in reversed(files)}
    for url in dict.fromkeys([*_spread(list(folders.values())), *_spread(list(files))]):
        with contextlib.suppress(InputError):  # one that is gone fails by name when it is read
            file = stat_file(url)
            yield SharedFile("input.path", url, url, file.size, file.mark)


def _checkpoints(spec: PipelineSpec) -> Iterator[SharedFile]:
    for path in dict.fromkeys(path for model in spec.models for path in local_files(model)):
        yield SharedFile("models[].checkpoint", str(path), str(path), path.stat().st_size)


def _spread(items: list[T]) -> list[T]:
    """Return at most SAMPLED of the items, evenly spread, the first and the last among them."""
    if len(items) <= SAMPLED:
        return items
    return [items[i * (len(items) - 1) // (SAMPLED - 1)] for i in range(SAMPLED)]


def _is_local(url: str) -> bool:
    return is_local(locate(url)[0])
