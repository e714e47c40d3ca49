"""Local paths on a cluster of several machines: every node has to see the same files as the driver.

Ray may read, encode or commit a unit on any node. On a node with other disks a local input is missing, and a
local output is written to a disk that the driver does not see. So the driver writes a marker file, and asks
each node before the first unit whether it sees the marker, the inputs and the checkpoints. A node that joins
later is asked as soon as the driver notices it. A unit that a node committed before it was asked counts only
if the driver sees the data file.
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
LISTING_SECONDS = 2.0
"""Seconds between two listings of the cluster's nodes."""
ANSWER_SECONDS = 60.0
"""Seconds for which the driver waits for answers; a slower node counts as one that joins later."""
HEARTBEAT = 0.2
"""Seconds between two heartbeats while the driver waits."""
ATTEMPTS = 3
"""Number of times that a node looks for a file: a network file system may show a new one late."""
PAUSE_SECONDS = 1.0
"""Seconds between two attempts."""
MOST_SAMPLED = 64
"""Largest number of input files, and of folders with one file each, that a node looks for."""
REMEDY = (
    "put it on an object store (s3://...) or on a mount that all nodes share, or run on this machine alone "
    "with --executor inline"
)


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file as the driver sees it, the field of the job file, and the path that messages show.

    `mark` is None if the time of the last change does not matter: a checkpoint may be copied to each node.
    """

    field: str
    shown: str
    path: str
    size: int
    mark: str | None = None

    def difference(self) -> str:
        """Return how this node differs from the driver; "" if it sees the same file."""
        try:
            there = stat_file(self.path)
        except InputError:
            return "does not see it"
        if there.size != self.size or self.mark not in (None, there.mark):
            return "sees another one"
        return ""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A file that a node does not see as the driver does, the difference, and the node."""

    file: SharedFile
    difference: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster: its id, its address as messages show it, and whether it has CPUs or GPUs."""

    id: str
    name: str
    has_resources: bool


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def _unseen_files(files: Sequence[SharedFile]) -> list[Unseen]:
    """Return the files that this node does not see as the driver does."""
    unseen: list[Unseen] = []
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_SECONDS if attempt else 0.0)
        unseen = [Unseen(file, difference) for file in files if (difference := file.difference())]
        if not unseen:
            break
    return unseen


class SharedFolders:
    """The check that every node sees a job's local files; JobFailed names a node that does not."""

    def __init__(self, spec: PipelineSpec, pending: Sequence[Pending]) -> None:
        self._spec, self._pending = spec, pending
        self._output = OutputFolder.of(spec.output.url, spec.output.format)
        self._marker_path = self._output.job(f".shared-{uuid.uuid4().hex}{TEMPORARY}")
        self._files: list[SharedFile] | None = None
        self._checked: set[str] = set()
        self._asked: dict[Any, Node] = {}
        self._unseen: list[Unseen] = []
        self._listed = self._deadline = 0.0
        self._closed = False

    def check_all(self) -> Iterator[None]:
        """Ask all nodes that were not asked yet and wait for the answers; yield heartbeats meanwhile."""
        self._ask_new_nodes()
        while self._asked and time.monotonic() < self._deadline:
            self._take_answers(HEARTBEAT)
            yield
        self._raise_if_unseen()

    def check_joined(self, now: float) -> None:
        """Ask the nodes that have joined, and act on the answers that have arrived, without waiting."""
        if now - self._listed >= LISTING_SECONDS:
            self._ask_new_nodes()
        self._take_answers(0.0)
        self._raise_if_unseen()

    def check_all_now(self) -> None:
        """Ask the nodes that have joined and wait: the caller has a failure whose cause may be a node."""
        if not (self._closed or self._unseen):
            for _ in self.check_all():
                pass

    def confirm_commit(self, unit: str, node: str) -> None:
        """Raise JobFailed if a node that has not answered yet has committed a unit to another disk."""
        if node in self._checked or self._closed or not _is_local(self._output.url):
            return
        if not self._output.exists(self._output.data(unit)):
            name = next((each.name for each in _nodes(alive=False) if each.id == node), node)
            file = SharedFile("output.path", self._output.url, self._output.data(unit), 0)
            self._unseen.append(Unseen(file, f"wrote unit {unit} elsewhere", name))
            self._raise_if_unseen()

    def close(self) -> None:
        """Remove the marker, and end the check."""
        self._closed = True
        if self._files is not None:
            with contextlib.suppress(CorpusmillError):  # the next run removes it
                self._output.remove(self._marker_path)

    def _ask_new_nodes(self) -> None:
        """Ask every node that was not asked yet; a driver that is the only node has nobody to ask."""
        self._listed = time.monotonic()
        nodes = _nodes()
        if self._files is None and [node.id for node in nodes] == [ray.get_runtime_context().get_node_id()]:
            self._checked.add(nodes[0].id)
            return
        asked = {node.id for node in self._asked.values()}
        for node in nodes:
            if node.id not in self._checked | asked and (files := self._files_for(node)):
                self._asked[_ask_node(node, files)] = node
                self._deadline = self._listed + ANSWER_SECONDS

    def _files_for(self, node: Node) -> list[SharedFile]:
        """Return the files that a node has to see: a node without CPU and GPU only commits."""
        if self._files is None:
            self._files = [*self._marker_file(), *_input_files(self._pending), *_checkpoint_files(self._spec)]
        return [file for file in self._files if node.has_resources or file.path == self._marker_path]

    def _marker_file(self) -> Iterator[SharedFile]:
        """Write the marker into a local output folder, and yield it."""
        if _is_local(self._output.url):
            token = uuid.uuid4().hex.encode()
            self._output.put(self._marker_path, token)
            yield SharedFile("output.path", self._output.url, self._marker_path, len(token))

    def _take_answers(self, timeout: float) -> None:
        """Note the answers that arrive within `timeout` seconds."""
        if not self._asked:
            return
        ready, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=timeout)
        for reference in ready:
            node, answer = self._asked.pop(reference), answer_to(reference)
            if isinstance(answer, RayError):
                continue  # the node has left, or is asked again after the next listing
            if not answer:
                self._checked.add(node.id)
            self._unseen += [replace(unseen, node=node.name) for unseen in answer]

    def _raise_if_unseen(self) -> None:
        if self._unseen:
            raise _refusal(self._unseen)


def _refusal(unseen: Sequence[Unseen]) -> JobFailed:
    first = unseen[0]
    others = len({each.node for each in unseen}) - 1
    nodes = f"node {first.node}" + (f" (and {others} others)" if others else "")
    return JobFailed(
        f"{first.file.field}: expected every node of the cluster to see {first.file.shown} as the driver "
        f"does, but {nodes} {first.difference}; {REMEDY}"
    )


def _nodes(*, alive: bool = True) -> list[Node]:
    return [_node(found) for found in ray.nodes() if found["Alive"] or not alive]


def _node(found: dict[str, Any]) -> Node:
    address, host = found["NodeManagerAddress"], found.get("NodeManagerHostname")
    resources = found.get("Resources", {})
    name = f"{address} ({host})" if host and host != address else address
    return Node(found["NodeID"], name, bool(resources.get("CPU") or resources.get("GPU")))


def _ask_node(node: Node, files: list[SharedFile]) -> Any:
    pinned = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return _unseen_files.options(scheduling_strategy=pinned).remote(files)


def _input_files(pending: Sequence[Pending]) -> Iterator[SharedFile]:
    """Yield a sample of the local input files as they are now: one of each folder, and some of all."""
    files = dict.fromkeys(each.split.file.url for each in pending if _is_local(each.split.file.url))
    folders = {url.rpartition("/")[0]: url for url in reversed(files)}
    for url in dict.fromkeys([*_sample(list(folders.values())), *_sample(list(files))]):
        with contextlib.suppress(InputError):  # a missing file fails when it is read
            file = stat_file(url)
            yield SharedFile("input.path", url, url, file.size, file.mark)


def _checkpoint_files(spec: PipelineSpec) -> Iterator[SharedFile]:
    for path in dict.fromkeys(path for model in spec.models for path in local_files(model)):
        yield SharedFile("models[].checkpoint", str(path), str(path), path.stat().st_size)


def _sample(items: list[T]) -> list[T]:
    """Return at most MOST_SAMPLED of the items, evenly spread, including the first and the last."""
    if len(items) <= MOST_SAMPLED:
        return items
    return [items[i * (len(items) - 1) // (MOST_SAMPLED - 1)] for i in range(MOST_SAMPLED)]


def _is_local(url: str) -> bool:
    return is_local(locate(url)[0])
