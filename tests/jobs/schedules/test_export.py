"""Schedules for cron and Kubernetes: what the lines do, and that the manifests fit their schemas."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.office import Office

from corpusmill.jobs import JobConfig

SCHEMAS = Path(__file__).parent / "schemas"
KINDS = {"ConfigMap": "configmap", "CronJob": "cronjob", "RayJob": "rayjob"}


def check(document: dict[str, Any]) -> None:
    """Raises where a manifest does not fit the schema of its kind."""
    schema = json.loads((SCHEMAS / f"{KINDS[document['kind']]}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)


@pytest.fixture
def exported(office: Office) -> dict[str, dict[str, Any]]:
    """The manifests by kind."""
    office.add("--name", "My nightly Job!", "--timezone", "Europe/Berlin", "--set", "name=a b")
    result = office.call("export", "My nightly Job!", "--to", "kubernetes", "--image", "registry/cm:1")
    assert result.exit_code == 0, result.output
    return {document["kind"]: document for document in yaml.safe_load_all(result.stdout)}


def test_the_manifests_fit_their_schemas(exported: dict[str, dict[str, Any]]) -> None:
    """All three kinds, and what makes them work together."""
    assert sorted(exported) == ["ConfigMap", "CronJob", "RayJob"]
    for document in exported.values():
        check(document)
    cron = exported["CronJob"]["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == (
        "0 2 * * *",
        "Europe/Berlin",
        "Forbid",
    )
    pod = cron["jobTemplate"]["spec"]["template"]["spec"]
    name = exported["ConfigMap"]["metadata"]["name"]
    assert name == "my-nightly-job"
    assert pod["volumes"][0]["configMap"]["name"] == name
    assert pod["containers"][0]["command"][:5] == [
        "corpusmill",
        "run",
        "/etc/corpusmill/job.yaml",
        "--json",
        "--incremental",
    ]
    assert exported["RayJob"]["spec"]["suspend"] is True
    assert "--set 'name=a b'" in exported["RayJob"]["spec"]["entrypoint"]


def test_the_shipped_job_file_loads(exported: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """It is the schedule's own, word for word."""
    (tmp_path / "shipped.yaml").write_text(exported["ConfigMap"]["data"]["job.yaml"])
    assert JobConfig.from_yaml(tmp_path / "shipped.yaml") == JobConfig.from_yaml(tmp_path / "job.yaml")


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("CronJob", ("spec", "concurrencyPolicy"), "Never"),
        ("CronJob", ("spec", "timezone"), "UTC"),
        ("CronJob", ("spec", "jobTemplate", "spec", "template", "spec", "restartPolicy"), "Always"),
        ("RayJob", ("spec", "rayClusterSpec", "workers"), []),
        ("RayJob", ("spec", "suspend"), "yes"),
        ("ConfigMap", ("data", "job.yaml"), 1),
    ],
)
def test_the_schemas_refuse_what_is_wrong(
    exported: dict[str, dict[str, Any]], kind: str, path: tuple[str, ...], value: object
) -> None:
    """The check itself: each of these must be seen."""
    document = copy.deepcopy(exported[kind])
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check(document)


def test_days_are_written_as_every_cron_reads_them(office: Office) -> None:
    """A range of days beyond Saturday is accepted here and refused by cron and by Kubernetes."""
    office.add(cron="0 2 * * fri-sun")
    assert (
        office.call("export", "nightly", "--to", "crontab")
        .stdout.splitlines()[2]
        .startswith("0 2 * * 5,6,0 ")
    )
    manifests = office.call("export", "nightly", "--to", "kubernetes", "--image", "registry/cm:1").stdout
    assert "schedule: 0 2 * * 5,6,0\n" in manifests


@pytest.mark.slow
def test_the_crontab_line_runs_the_job(office: Office, tmp_path: Path) -> None:
    """From any folder; a percent sign, which ends a command in a crontab, is escaped."""
    office.add("--on-failure", "date +%s > failed")
    lines = office.call("export", "nightly", "--to", "crontab").stdout.splitlines()
    assert lines[1] == "CRON_TZ=UTC"
    fields, command = " ".join(lines[2].split()[:5]), lines[2].split(maxsplit=5)[5]
    assert fields == "0 2 * * *"
    assert command.endswith("|| { date +\\%s > failed; }")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", command.replace("\\%", "%")], cwd="/", env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 16
    assert not (tmp_path / "failed").exists()
