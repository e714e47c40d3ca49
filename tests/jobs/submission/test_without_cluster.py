"""What the commands say where there is no cluster, and what is shipped to one."""

from datetime import date
from pathlib import Path

import pytest
import yaml
from support.ray_head import Desk, free_port

from corpusmill.jobs import JobConfig
from corpusmill.jobs.config.dates import with_absolute_paths
from corpusmill.jobs.errors import SubmissionError
from corpusmill.jobs.submission.submit import entrypoint, runtime_environment, version


@pytest.mark.parametrize("command", [("submit", "job.yaml"), ("list",)])
def test_an_address_where_nothing_answers_is_said(desk: Desk, command: tuple[str, ...]) -> None:
    """One line that names the address, exit code 1."""
    address = f"http://127.0.0.1:{free_port()}"
    result = desk.call(*command, "--address", address)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {address}: no Ray Jobs API answers here")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_an_id_that_nobody_noted_is_said(desk: Desk, command: str) -> None:
    """With what to give instead."""
    result = desk.call(command, "reviews-20260101-000000-abcd")
    assert result.exit_code == 1
    assert "no submission of this name was made from this machine" in result.stderr
    assert "--address" in result.stderr


def test_an_address_that_is_no_dashboard_is_a_usage_error(desk: Desk) -> None:
    """Ray's own address is easily taken for the dashboard's."""
    result = desk.call("submit", "job.yaml", "--address", "ray://head:10001")
    assert result.exit_code == 2
    assert "expected the address of a cluster's dashboard" in result.stderr


def test_the_shipped_job_means_the_same_elsewhere(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths became absolute; URLs stay as they are."""
    fields = yaml.safe_load((desk.folder / "job.yaml").read_text())
    fields["input"]["path"] = ["in", "s3://bucket/more/*.parquet"]
    fields["models"].append({"checkpoint": "hf://org/name", "name": "second"})
    config = with_absolute_paths(JobConfig.from_dict(fields))
    runtime_environment(tmp_path, config, wheel=None, installed=True)
    monkeypatch.chdir("/")
    shipped = JobConfig.from_yaml(tmp_path / "job.yaml")
    assert shipped.input.path == [str(desk.folder / "in"), "s3://bucket/more/*.parquet"]
    assert shipped.models[0].checkpoint.startswith("/")
    assert shipped.models[1].checkpoint == "hf://org/name"
    assert shipped.output.path == str(desk.output)


def test_a_dated_output_gets_its_date_where_it_runs(desk: Desk, tmp_path: Path) -> None:
    """The job that is shipped knows the outputs of all dates, so that none is read as input."""
    day = date(2026, 11, 26)
    plain = with_absolute_paths(JobConfig.from_yaml(desk.folder / "job.yaml"))
    config = with_absolute_paths(JobConfig.from_yaml(desk.folder / "job.yaml", ["output.path=in/{run_date}"]))
    runtime_environment(tmp_path, config, wheel=None, installed=True)
    shipped = JobConfig.from_yaml(tmp_path / "job.yaml")
    assert shipped.output.path == str(desk.folder / "in/{run_date}")
    assert entrypoint(shipped, day).endswith(" --json --run-date 2026-11-26")
    assert entrypoint(plain, day).endswith(" --json")


def test_the_package_is_pinned_unless_told_otherwise(desk: Desk) -> None:
    """To this very version; a wheel is shipped; both at once is a mistake."""
    config = JobConfig.from_yaml(desk.folder / "job.yaml")
    shipped = desk.folder / "shipped"
    shipped.mkdir()
    assert runtime_environment(shipped, config, wheel=None, installed=False)["pip"] == [
        f"corpusmill=={version()}"
    ]
    assert "pip" not in runtime_environment(shipped, config, wheel=None, installed=True)
    wheel = desk.folder / "corpusmill-9-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    (pinned,) = runtime_environment(shipped, config, wheel=str(wheel), installed=False)["pip"]
    assert pinned.endswith("/corpusmill-9-py3-none-any.whl")
    assert (shipped / wheel.name).read_bytes() == b"wheel"
    with pytest.raises(SubmissionError, match="got both"):
        runtime_environment(shipped, config, wheel=str(wheel), installed=True)
    with pytest.raises(SubmissionError, match="expected a wheel file"):
        runtime_environment(shipped, config, wheel=str(desk.folder), installed=False)
