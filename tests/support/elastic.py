"""A cluster of fake nodes that come when actors wait and go when they are idle, beside other clusters.

What `ray.cluster_utils.AutoscalingCluster` does, which is of no use: it needs a file that the wheel lacks,
and begins with `ray stop`, which would end every cluster of the machine. This one ends only what it started.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from support import marked_processes

MARK = "CORPUSMILL_TEST_CLUSTER"
PROVIDER = {
    "type": "fake_multinode",
    "use_node_id_as_ip": True,
    "disable_node_updaters": True,
    "disable_launch_config_check": True,
}
BASE: dict[str, Any] = {
    "cluster_name": "fake",
    "head_node_type": "ray.head.default",
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 0.1,
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    **{
        f"{name}_commands": []
        for name in (
            "initialization",
            "setup",
            "head_setup",
            "worker_setup",
            "head_start_ray",
            "worker_start_ray",
        )
    },
}


@contextlib.contextmanager
def elastic_cluster(folder: Path, *, head_cpus: int, nodes: int) -> Iterator[str]:
    """Start a head of so many CPUs and room for so many nodes of one CPU; yields its address."""
    kinds: dict[str, Any] = {
        "ray.head.default": {"resources": {"CPU": head_cpus}, "node_config": {}, "max_workers": 0},
        "one-cpu": {
            "resources": {"CPU": 1, "object_store_memory": 200 << 20},
            "node_config": {},
            "min_workers": 0,
            "max_workers": nodes,
        },
    }
    port = free_port()
    address = f"{ray.util.get_node_ip_address()}:{port}"
    config = folder / "cluster.json"
    config.write_text(
        json.dumps(
            {
                **BASE,
                "max_workers": nodes,
                "available_node_types": kinds,
                "provider": PROVIDER | {"gcs_address": address},
            }
        )
    )
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={port}"]
    command += [f"--num-cpus={head_cpus}", f"--autoscaling-config={config}", f"--temp-dir={folder / 'r'}"]
    command += ["--object-store-memory=300000000", "--include-dashboard=false", "--disable-usage-stats"]
    started = {**os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    started |= {"RAY_AUTH_MODE": "disabled", MARK: str(folder)}
    try:
        subprocess.run(command, check=True, capture_output=True, env=started, timeout=120)
        yield address
    finally:
        marked_processes.end(MARK, str(folder))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
