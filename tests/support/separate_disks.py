"""Ray nodes on this machine that do not see the same files: raylets in mount namespaces of their own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.ray_head import free_port

RAY = str(Path(sys.executable).with_name("ray"))
HEAD, OTHER = "127.0.0.1", "127.0.0.2"
PATIENCE = 120.0
HIDE = 'mount -t tmpfs none "$0" && exec "$@"'
"""What a shell of a namespace does: lays an empty file system over a folder, and becomes the command."""


def why_not() -> str:
    """Return why this machine cannot give a process other mounts; "" where it can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            command = ["unshare", "-m", "sh", "-c", HIDE, folder, "true"]
            tried = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
    return "" if tried.returncode == 0 else f"unshare -m: {tried.stderr.strip() or tried.returncode}"


@dataclass
class Nodes:
    """A cluster's `ray start` processes: a head, and nodes that joined it."""

    folder: Path
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The head's address."""
        return f"{HEAD}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What nodes and drivers of this cluster have in common."""
        ours = {"RAY_TMPDIR": str(self.folder), "RAY_AUTH_MODE": "disabled"}
        ours["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
        ours["PATH"] = os.pathsep.join((str(Path(RAY).parent), os.environ["PATH"]))
        return {**{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}, **ours}

    def start(self, *, cpus: int, dashboard: int = 0) -> None:
        """Start the head; with a port for its dashboard if one is wanted."""
        there = f"--dashboard-port={dashboard}" if dashboard else "--include-dashboard=false"
        head = ["--head", f"--port={self.port}", f"--ray-client-server-port={free_port()}", there]
        self._start([*head, f"--node-ip-address={HEAD}", f"--num-cpus={cpus}"])

    def join(self, *, cpus: int, hidden: Path | None = None) -> None:
        """Add a node, on which an empty file system lies over a folder if one is given."""
        command = [f"--address={self.address}", f"--node-ip-address={OTHER}", f"--num-cpus={cpus}"]
        self._start(command, ["unshare", "-m", "sh", "-c", HIDE, str(hidden)] if hidden else [])

    def stop(self) -> None:
        """End all that was started, the head last."""
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(60)

    def _start(self, options: list[str], namespace: list[str] | None = None) -> None:
        command = [*(namespace or []), RAY, "start", "--block", "--disable-usage-stats", *options]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=200000000"]
        command += [f"--dashboard-agent-listen-port={free_port()}", f"--metrics-export-port={free_port()}"]
        log = self.folder / f"{len(self.started)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=stream, stderr=stream
            )
        self.started.append(process)
        deadline = time.monotonic() + PATIENCE
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)


@contextlib.contextmanager
def separate_disks() -> Iterator[Nodes]:
    """Yield a cluster without nodes, in a folder of a short path as sockets need; end what was started."""
    nodes = Nodes(Path(tempfile.mkdtemp(prefix="n", dir="/tmp")))
    try:
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(nodes.folder, ignore_errors=True)
