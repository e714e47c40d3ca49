"""Jobs on a real Ray head, through its Jobs API: submitted, followed, cancelled, looked at afterwards."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.pages import run_page
from support.ray_head import BIN, Desk, Head, free_port, start_head
from support.separate_disks import OTHER, separate_disks, why_not

ROOT = Path(__file__).parents[3]


def wait_for_units(desk: Desk, units: int, patience: float = 120.0) -> None:
    """Until so many data files are there."""
    deadline = time.monotonic() + patience
    while len(list((desk.output / "data").glob("*.arrow"))) < units:
        assert time.monotonic() < deadline, "no data file appeared"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_job_is_submitted_followed_and_listed(desk: Desk, head: Head) -> None:
    """With relative paths; the log ends with the run's own record; the cluster knows what is there."""
    made = desk.json("submit", "job.yaml", "--address", head.address, "--installed")
    assert made["id"].startswith("some-reviews-")
    assert made["output"] == str(desk.output)

    log = desk.call("logs", made["id"], "--follow")
    assert log.exit_code == 0, log.output
    assert '"rows": 40' in log.stdout.splitlines()[-1]
    assert desk.call("logs", made["id"]).stdout == log.stdout

    status = desk.json("status", made["id"])
    assert (status["state"], status["told_by"]) == ("succeeded", "cluster")
    assert (status["rows"], status["units"], status["complete"]) == (40, 5, True)
    assert pq.read_table(desk.output / "_manifest.parquet")["rows"].to_pylist() == [8] * 5

    (listed,) = desk.json("list", "--address", head.address)["submissions"]
    assert (listed["id"], listed["state"], listed["rows"]) == (made["id"], "succeeded", 40)


@pytest.mark.slow
def test_a_wrong_token_is_said(desk: Desk, head: Head) -> None:
    """Heads of Ray want a token by default; one line says where it is."""
    environment = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64}
    command = [str(BIN / "corpusmill"), "list", "--address", head.address]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "refuses this user's token" in result.stderr.splitlines()[-1]


@pytest.mark.exhaustive
def test_an_id_of_ones_own_is_used_once(desk: Desk, head: Head) -> None:
    """A command that is repeated does not start a second job."""
    options = ("job.yaml", "--address", head.address, "--installed", "--id", "nightly-2026-11-26")
    assert desk.call("submit", *options).exit_code == 0
    again = desk.call("submit", *options)
    assert again.exit_code == 2
    assert "nightly-2026-11-26: was submitted already" in again.stderr
    desk.call("logs", "nightly-2026-11-26", "--follow")


@pytest.mark.slow
def test_a_cancelled_job_keeps_its_rows_and_continues_when_submitted_again(desk: Desk, head: Head) -> None:
    """Cancelled in the middle; a second job on the output is refused while the first one runs."""
    desk.numbered(4000)
    job = desk.job(rows_per_unit=2)
    first = desk.json("submit", job, "--address", head.address, "--installed")["id"]
    wait_for_units(desk, 5)
    refused = desk.call("submit", job, "--address", head.address, "--installed")
    assert refused.exit_code == 1
    assert f"{first} is running and writes there" in refused.stderr

    cancelled = desk.json("cancel", first)
    assert (cancelled["state"], cancelled["complete"]) == ("stopped", False)
    kept = {path.name: path.read_bytes() for path in (desk.output / "data").glob("*.arrow")}
    assert 5 <= len(kept) < 2000
    assert "committed units are kept" in desk.call("logs", first).stdout

    second = desk.json("submit", job, "--address", head.address, "--installed")["id"]
    assert second != first
    desk.call("logs", second, "--follow")
    assert desk.json("status", second)["rows"] == 4000
    assert all((desk.output / "data" / name).read_bytes() == found for name, found in kept.items())
    assert desk.call("verify", desk.output).exit_code == 0


@pytest.mark.slow
def test_a_job_that_fails_says_why(desk: Desk, head: Head) -> None:
    """The state is the cluster's, the reason is in the log."""
    made = desk.json("submit", desk.job(text="body"), "--address", head.address, "--installed")["id"]
    assert "input.text" in desk.call("logs", made, "--follow").stdout
    assert desk.json("status", made)["state"] == "failed"
    assert f"{made}: failed" in desk.call("status", made).stdout


@pytest.mark.exhaustive
def test_a_status_outlives_its_cluster(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By the output alone: succeeded where it is finished, stopped where the cluster took the job with it."""
    head = start_head(tmp_path_factory.mktemp("short-lived"))
    try:
        done = desk.json("submit", "job.yaml", "--address", head.address, "--installed")["id"]
        desk.call("logs", done, "--follow")
        desk.numbered(4000)
        job = desk.job(rows_per_unit=2)
        options = ("--set", "output.path=half", "--address", head.address, "--installed")
        half = desk.json("submit", job, *options)["id"]
        wait_for_units(Desk(desk.folder), 5)
        deadline = time.monotonic() + 120
        while len(list((desk.folder / "half/data").glob("*.arrow"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        head.stop()
    status = desk.json("status", done)
    assert (status["state"], status["told_by"], status["rows"]) == ("succeeded", "output", 40)
    status = desk.json("status", half)
    assert (status["state"], status["told_by"]) == ("stopped", "output")
    assert 10 <= status["rows"] < 4000
    assert "the cluster does not answer" in desk.call("status", half).stdout


@pytest.mark.exhaustive
def test_a_wheel_travels_with_the_job(desk: Desk, head: Head, tmp_path: Path) -> None:
    """The cluster runs the corpusmill of the wheel: here one that says another version."""
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    package = source / "src/corpusmill/__init__.py"
    package.write_text(
        re.sub(r'(?m)^__version__ = ".*"$', '__version__ = "9.9.9.post7"', package.read_text())
    )
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    made = desk.json("submit", "job.yaml", "--address", head.address, "--wheel", wheel)["id"]
    log = desk.call("logs", made, "--follow").stdout
    status = desk.json("status", made)
    assert (status["state"], status["rows"]) == ("succeeded", 40), log + status["message"]
    assert "9.9.9.post7" in wheel.name


@pytest.mark.exhaustive
def test_the_pages_commands_run(head: Head, tmp_path: Path) -> None:
    """docs/submission.md, with this head's address."""
    run_page("index.md", tmp_path)
    done = run_page("submission.md", tmp_path, replaced={"http://head:8265": head.address})
    assert [command.split()[1] for command in done] == ["submit", "logs", "status", "list", "cancel"]


@pytest.mark.slow
def test_rays_exporter_shows_the_pools(desk: Desk, head: Head) -> None:
    """Tokens that wait and workers of each model, for Prometheus, while the job runs."""
    desk.numbered(30_000)
    job = desk.job(rows_per_unit=4)
    made = desk.json("submit", job, "--address", head.address, "--installed")["id"]
    wanted = [f"ray_corpusmill_{name}" for name in ("queued_tokens", "workers", "encoded_tokens")]
    deadline = time.monotonic() + 120
    seen = ""
    while not all(name in seen for name in wanted) and time.monotonic() < deadline:
        time.sleep(1)
        with urllib.request.urlopen(head.metrics, timeout=10) as answer:
            seen = answer.read().decode()
    desk.call("cancel", made)
    lines = [line for line in seen.splitlines() if line.startswith("ray_corpusmill_")]
    assert all(any(line.startswith(name) for line in lines) for name in wanted), lines
    assert any('model="' in line and line.startswith("ray_corpusmill_workers{") for line in lines), lines


@pytest.mark.exhaustive
def test_a_run_without_an_address_leaves_the_machines_own_cluster_alone(desk: Desk, head: Head) -> None:
    """Where a head runs on this machine, too, a run starts a cluster of its own and ends it."""
    environment = {**os.environ, "RAY_TMPDIR": str(head.temporary)}
    command = [str(BIN / "corpusmill"), "run", "job.yaml", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 40
    assert "submissions" in desk.json("list", "--address", head.address)


@pytest.mark.exhaustive
def test_a_node_that_does_not_see_the_output_is_named_in_the_log_and_the_status(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver runs on the head; who has submitted reads the same line as with `run`."""
    if reason := why_not():
        pytest.skip(f"no mount namespaces here ({reason})")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    port = free_port()
    desk.output.mkdir()
    with separate_disks() as nodes:
        nodes.start(cpus=1, dashboard=port)
        nodes.join(cpus=1, hidden=desk.output)
        address = f"http://127.0.0.1:{port}"
        made = desk.json("submit", "job.yaml", "--address", address, "--installed")["id"]
        log = desk.call("logs", made, "--follow").output
        status = desk.json("status", made)
    refused = f"output.path: expected every node of the cluster to see {desk.output} as the driver does, but"
    assert f"error: {refused} node {OTHER}" in log
    assert (status["state"], status["rows"]) == ("failed", 0)
    assert refused in status["message"]
