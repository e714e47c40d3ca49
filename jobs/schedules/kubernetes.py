"""The export of a schedule: lines of a crontab, or Kubernetes manifests.

The manifests are the job file, a CronJob on one pod, and a RayJob on KubeRay.
"""

import importlib.metadata
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from corpusmill.jobs.errors import ScheduleError
from corpusmill.jobs.schedules.store import Schedule

MOUNT = "/etc/corpusmill"
NAME_LENGTH = 52
"""The most characters of a CronJob's name: Kubernetes adds 11 for the names of jobs, which may have 63."""
MANIFEST_HEADER = """\
# The job file, a CronJob that runs it on one pod, and a RayJob that does the same with KubeRay's operator.
# Use one of the two. The RayJob is suspended, so it does not start when this file is applied. The paths of
# the job have to exist inside the pods: use s3:// and hf://, or mount a volume.
"""


def crontab_lines(schedule: Schedule) -> Iterator[str]:
    """Yield the lines of a crontab that starts the same runs as the schedule.

    TZ gives the run the date in the schedule's zone. cronie and busybox know CRON_TZ; Vixie cron, as in
    Debian, uses the zone of the machine for the times.
    """
    command = shlex.join(_run_command(schedule, schedule.job))
    line = f"cd {shlex.quote(schedule.folder)} && TZ={shlex.quote(schedule.timezone)} {command}"
    if schedule.on_failure:
        line += f" || {{ {schedule.on_failure}; }}"
    yield f"# {schedule.name}: overlapping runs do no harm: a second run on the same output is refused"
    yield f"CRON_TZ={schedule.timezone}"
    # cron ends a command at a bare %
    yield f"{schedule.timetable().cron} {line.replace('%', chr(92) + '%')}"


def manifests(schedule: Schedule, image: str, *, workers: int = 4, cpus: int = 4, memory: str = "8Gi") -> str:
    """Return the manifests as one YAML file; `workers` is the most that KubeRay may start."""
    try:
        text = (Path(schedule.folder) / schedule.job).read_text(encoding="utf-8")
    except OSError as error:
        raise ScheduleError(f"{schedule.job}: the job file cannot be read ({error.strerror})") from None
    name = _resource_name(schedule.name)
    container = _container(image, cpus, memory)
    documents = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"job.yaml": text}},
        _cron_job(schedule, name, container),
        _ray_job(schedule, name, container, workers),
    ]
    return MANIFEST_HEADER + yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=110)


def _run_command(schedule: Schedule, job: str) -> list[str]:
    """Return the command of a schedule's run; its exit code says whether the run succeeded."""
    return ["corpusmill", "run", job, "--json", "--incremental", *schedule.options]


def _cron_job(schedule: Schedule, name: str, container: dict[str, Any]) -> dict[str, Any]:
    command = _run_command(schedule, f"{MOUNT}/job.yaml")
    variables = {"env": [{"name": "TZ", "value": schedule.timezone}]}  # {run_date} is the date in this zone
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "corpusmill", **container, "command": command, **variables}],
        "volumes": _volumes(name),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {
            "schedule": schedule.timetable().cron,
            "timeZone": schedule.timezone,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 3, "template": {"spec": pod}}},
        },
    }


def _ray_job(schedule: Schedule, name: str, container: dict[str, Any], workers: int) -> dict[str, Any]:
    def group(role: str) -> dict[str, Any]:
        pod = {"containers": [{"name": role, **container}], "volumes": _volumes(name)}
        return {"rayStartParams": {}, "template": {"spec": pod}}

    command = [*_run_command(schedule, f"{MOUNT}/job.yaml"), "--address", "auto"]
    replicas = {"groupName": "workers", "replicas": 0, "minReplicas": 0, "maxReplicas": workers}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {
            "suspend": True,
            "entrypoint": f"env TZ={shlex.quote(schedule.timezone)} {shlex.join(command)}",
            "shutdownAfterJobFinishes": True,
            "rayClusterSpec": {
                "rayVersion": importlib.metadata.version("ray"),
                "enableInTreeAutoscaling": True,
                "headGroupSpec": group("head"),
                "workerGroupSpecs": [{**replicas, **group("worker")}],
            },
        },
    }


def _container(image: str, cpus: int, memory: str) -> dict[str, Any]:
    amounts = {"cpu": str(cpus), "memory": memory}
    return {
        "image": image,
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "volumeMounts": [{"name": "job", "mountPath": MOUNT, "readOnly": True}],
    }


def _volumes(name: str) -> list[dict[str, Any]]:
    return [{"name": "job", "configMap": {"name": name}}]


def _resource_name(name: str) -> str:
    resource_name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:NAME_LENGTH].rstrip("-")
    return resource_name or "corpusmill"
