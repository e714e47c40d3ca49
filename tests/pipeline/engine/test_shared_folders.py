"""A cluster whose machines do not share their disks: a job that needs it is refused before its first unit."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from support.separate_disks import OTHER, Nodes, separate_disks, why_not

from corpusmill.jobs import JobConfig
from corpusmill.jobs.progress.status import status
from corpusmill.jobs.resolve.job import resolve
from corpusmill.pipeline.engine.shared_folders import SharedFolders
from corpusmill.pipeline.errors import JobFailed

COMMAND = str(Path(sys.executable).with_name("corpusmill"))
TESTS = str(Path(__file__).parents[2])
LONGEST = 240.0


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that one of the two nodes does not see: it has an empty one there."""
    if reason := why_not():
        pytest.skip(f"no mount namespaces here ({reason})")
    return tmp_path_factory.mktemp("hidden")


@pytest.fixture(scope="module")
def nodes(hidden: Path) -> Iterator[Nodes]:
    """Two nodes; the driver is on the one that sees everything."""
    with separate_disks() as nodes:
        nodes.start(cpus=1)
        nodes.join(cpus=2, hidden=hidden)
        yield nodes


@pytest.fixture
def elsewhere(hidden: Path, tmp_path: Path) -> Path:
    """A folder of this test's own inside the hidden one."""
    folder = hidden / tmp_path.name
    folder.mkdir()
    return folder


def run(nodes: Nodes, job: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job on the cluster."""
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    command = [COMMAND, "run", str(path), "--address", nodes.address, "--json"]
    return subprocess.run(
        command, env=nodes.environment, capture_output=True, text=True, timeout=LONGEST, check=False
    )


def check_refused(done: subprocess.CompletedProcess[str], job: dict[str, Any], field: str, path: str) -> None:
    """One line names the field, the path, the node and the ways out; nothing is written as data."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert line.startswith(f"error: {field}: expected every node of the cluster to see {path}")
    assert f"but node {OTHER}" in line
    assert all(way in line for way in ("s3://", "mount that all nodes share", "--executor inline"))
    output = Path(job["output"]["path"])
    assert list(output.glob("data/*")) == []
    assert not (output / "_manifest.parquet").exists()
    assert list(output.glob("_job/.*")) == []
    found = status(str(output))
    assert (found.state, found.note) == ("failed", line.removeprefix("error: "))


@pytest.mark.slow
def test_an_output_folder_that_a_node_does_not_share_is_refused(
    nodes: Nodes, job: dict[str, Any], elsewhere: Path, tmp_path: Path
) -> None:
    """Its committers would write to a disk that the driver does not see."""
    job["output"]["path"] = str(elsewhere / "out")
    check_refused(run(nodes, job, tmp_path), job, "output.path", str(elsewhere / "out"))


@pytest.mark.exhaustive
def test_an_input_folder_that_a_node_does_not_share_is_refused(
    nodes: Nodes, job: dict[str, Any], elsewhere: Path, tmp_path: Path
) -> None:
    """The error names the node, and no file counts as removed."""
    (elsewhere / "a.jsonl").write_text('{"id": 1, "body": "water moves"}\n', encoding="utf-8")
    job["input"]["path"] = str(elsewhere)
    check_refused(run(nodes, job, tmp_path), job, "input.path", str(elsewhere / "a.jsonl"))


@pytest.mark.exhaustive
def test_a_checkpoint_folder_that_a_node_does_not_share_is_refused(
    nodes: Nodes, job: dict[str, Any], elsewhere: Path, tmp_path: Path
) -> None:
    """Before any worker tries to load it."""
    source = Path(job["models"][1]["checkpoint"])
    for path in source.iterdir():
        (elsewhere / path.name).write_bytes(path.read_bytes())
    job["models"][1]["checkpoint"] = str(elsewhere)
    check_refused(run(nodes, job, tmp_path), job, "models[].checkpoint", str(elsewhere))


@pytest.mark.exhaustive
def test_folders_that_all_nodes_share_are_used(
    nodes: Nodes, job: dict[str, Any], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """The same bytes as in one process, and no trace of the check."""
    done = run(nodes, job, tmp_path)
    assert done.returncode == 0, done.stderr
    output = Path(job["output"]["path"])
    assert {path.name: path.read_bytes() for path in output.glob("data/*")} == undisturbed
    assert list(output.glob("_job/.*")) == []


SCRIPT = """
import sys
from pathlib import Path
from support.slow import starter
from corpusmill.jobs.cli.app import app
from corpusmill.pipeline.engine import ray_engine

slow = starter({"c_": 1e6})

def start(spec):
    Path(sys.argv[3]).touch()
    return slow(spec)

ray_engine.start_encoder = start
app(["run", sys.argv[1], "--address", sys.argv[2]])
"""


@pytest.mark.slow
def test_a_node_that_joins_later_is_asked_too(job: dict[str, Any], elsewhere: Path, tmp_path: Path) -> None:
    """A job whose first unit is never done ends as soon as there is a node that does not see its output."""
    job["output"]["path"] = str(elsewhere / "out")
    path, working = tmp_path / "job.yaml", tmp_path / "working"
    path.write_text(json.dumps(job), encoding="utf-8")
    with separate_disks() as nodes:
        nodes.start(cpus=3)
        paths = f"{TESTS}:{nodes.environment.get('PYTHONPATH', '')}"
        command = [sys.executable, "-c", SCRIPT, str(path), nodes.address, str(working)]
        with subprocess.Popen(
            command, env={**nodes.environment, "PYTHONPATH": paths}, stdout=-1, stderr=-1, text=True
        ) as process:
            try:
                while not working.exists():
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.05)
                nodes.join(cpus=2, hidden=elsewhere)
                out, err = process.communicate(timeout=LONGEST)
            finally:
                process.kill()
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    check_refused(done, job, "output.path", str(elsewhere / "out"))


def test_a_unit_of_a_node_that_was_not_asked_counts_only_where_the_driver_sees_it(
    ray_cluster: None, job: dict[str, Any], tmp_path: Path
) -> None:
    """A node may join, commit, and go before it is noticed."""
    spec = resolve(JobConfig.from_dict(job)).spec
    folders = SharedFolders(spec, ())
    list(folders.check_all())
    (known,) = (node["NodeID"] for node in ray.nodes())
    folders.confirm_commit("unit", known)
    data = tmp_path / "out" / "data"
    data.mkdir(parents=True)
    (data / "seen.arrow").touch()
    folders.confirm_commit("seen", "gone")
    with pytest.raises(
        JobFailed, match=r"output.path: .* but node gone wrote unit lost elsewhere; put it on"
    ):
        folders.confirm_commit("lost", "gone")
    assert not (tmp_path / "out" / "_job").exists()  # a single node is not asked
