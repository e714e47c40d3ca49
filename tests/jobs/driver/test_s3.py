"""Input and output in S3: a real server on loopback, killed drivers, throttling, credentials that expire."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from support.s3 import DENIED, EXPIRED, KEY_ID, SECRET, SLOW_DOWN, TOKEN, Answer, Proxy, environment
from workshop import Workshop, texts

from corpusmill.pipeline import storage
from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.storage import filesystem, stat_file

OUT = "s3://bucket/out"
ONE_THREAD = {"cpus": 1}
"""Sums of several threads round otherwise, and the executors choose other numbers of them."""
MAIN = "from corpusmill.jobs.cli.app import main; main()"
SLOW = """
import time
from corpusmill.pipeline.engine import inline
whole = inline.commit
def slow(*arguments, **options):
    time.sleep(0.1)
    receipt = whole(*arguments, **options)
    time.sleep(0.1)
    return receipt
inline.commit = slow
"""


@pytest.fixture
def store(s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The server with an empty bucket; no pauses between our own attempts."""
    monkeypatch.setattr(storage, "PAUSES", (0.0, 0.0, 0.0))
    return s3


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks once: what a store refuses for ever need not be asked often."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(storage, "PAUSES", ())


def put(name: str, content: bytes) -> None:
    filesystem("s3").pipe_file(f"bucket/{name}", content)


def table(start: int, rows: int) -> bytes:
    sink = pa.BufferOutputStream()
    ids = list(range(start, start + rows))
    pq.write_table(pa.table({"id": ids, "text": texts(start + rows)[start:]}), sink, row_group_size=12)
    return bytes(sink.getvalue())


def lines(start: int, rows: int) -> bytes:
    return b"".join(
        json.dumps({"id": i, "text": text}).encode() + b"\n"
        for i, text in enumerate(texts(start + rows)[start:], start)
    )


@pytest.fixture
def job(workshop: Workshop, store: Proxy) -> Path:
    """A job from S3 to S3: Parquet, JSONL with a bad line, 7 units, 44 rows and a reject."""
    put("in/a.parquet", table(0, 24))
    put("in/b.jsonl", lines(24, 20) + b"no json\n")
    return workshop.job(input__path="s3://bucket/in", output__path=OUT, models__0__pool=ONE_THREAD)


def stored(folder: str = "data") -> dict[str, bytes]:
    """The objects of the output's folder."""
    fs = filesystem("s3")
    root = f"bucket/out/{folder}".rstrip("/") + "/"
    # Of a folder that appears at this moment, the client gives the folder itself.
    found = [name for name in fs.find(root) if name.startswith(root)]
    return {name.removeprefix(root): fs.cat_file(name) for name in found}


@pytest.fixture
def undisturbed(workshop: Workshop, job: Path) -> dict[str, bytes]:
    """The data files of a run that writes to a disk."""
    result = workshop.run(input__path="s3://bucket/in", models__0__pool=ONE_THREAD)
    assert (result.rows, result.rejected, result.units) == (44, 1, 7)
    return workshop.data()


def test_a_job_from_s3_to_s3(
    workshop: Workshop, job: Path, store: Proxy, undisturbed: dict[str, bytes]
) -> None:
    """The same bytes as on a disk, one object a unit, nothing left behind; it verifies and continues.

    Nothing is renamed, which is a copy there, and no commit.
    """
    result = workshop.cli("run", job, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["units"] == 7
    assert stored() == undisturbed
    assert len(stored("rejects")) == 1
    assert {"job.yaml", "fingerprint.json", "plan.jsonl", "stats.json"} < set(stored("_job"))
    assert "owner.json" not in stored("_job")
    assert workshop.cli("verify", OUT).exit_code == 0
    lost = sorted(stored())[1::3]
    for name in lost:
        filesystem("s3").rm_file(f"bucket/out/data/{name}")
    assert workshop.cli("verify", OUT).exit_code == 1
    again = json.loads(workshop.cli("run", job, "--json").stdout)
    assert again["skipped_units"] == 7 - len(lost)
    assert stored() == undisturbed
    assert store.copied == 0


@pytest.mark.slow
def test_receipts_and_events_are_read_back_from_s3(workshop: Workshop, job: Path) -> None:
    """In pieces, as a store cannot append; without them the data files are read again."""
    assert workshop.cli("run", job).exit_code == 0
    pieces = [name for name in stored("_job") if name.startswith("receipts-")]
    assert sum(len(stored("_job")[name].splitlines()) for name in pieces) == 7
    for name in pieces:
        filesystem("s3").rm_file(f"bucket/out/_job/{name}")
    again = workshop.cli("run", job, "--json")
    assert json.loads(again.stdout)["skipped_units"] == 7


@contextmanager
def driver(job: Path, *options: str, code: str = SLOW) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, which ends with the block at the latest."""
    command = [sys.executable, "-c", code + MAIN, "run", str(job), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(units: int, process: subprocess.Popen[str]) -> None:
    """Until so many are committed, or the run has ended."""
    deadline = time.monotonic() + 90
    while len(stored()) < units and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_driver_is_continued_to_the_same_objects(
    workshop: Workshop, job: Path, undisturbed: dict[str, bytes]
) -> None:
    """SIGKILL twice in the middle of a run; its record of ownership does not stand in the way."""
    for units in (1, 4):
        with driver(job, "--executor", "inline") as process:
            wait_for(units, process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        found = stored()
        assert 0 < len(found) < 7
        assert {name: undisturbed[name] for name in found} == found
        assert "owner.json" in stored("_job")
        assert workshop.cli("verify", OUT).exit_code == 0
    result = workshop.cli("run", job)
    assert result.exit_code == 0, result.stderr
    assert stored() == undisturbed
    assert workshop.cli("verify", OUT).exit_code == 0


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its logs; names of sockets below it may not be long."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        yield Path(folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize("share", [pytest.param(0.0, marks=pytest.mark.exhaustive), 0.1])
def test_a_ray_run_on_s3(
    workshop: Workshop,
    job: Path,
    store: Proxy,
    undisturbed: dict[str, bytes],
    ray_folder: Path,
    share: float,
) -> None:
    """Readers and committers find credentials in their environment; Ray's logs do not have them."""
    with (
        environment(RAY_TMPDIR=str(ray_folder)),
        store.answering(Answer(*SLOW_DOWN, share=share)),
        driver(job, "--json", code="") as process,
    ):
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert json.loads(out)["units"] == 7
    assert stored() == undisturbed
    logs = [path.read_bytes() for path in ray_folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(map(len, logs)) > 1000
    for secret in (SECRET, TOKEN, KEY_ID):
        assert secret not in out + err
        assert not any(secret.encode() in log for log in logs)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, pytest.param(0.25, marks=pytest.mark.exhaustive)])
def test_throttling_costs_time_only(
    workshop: Workshop, job: Path, store: Proxy, undisturbed: dict[str, bytes], share: float
) -> None:
    """503 SlowDown to a share of all requests."""
    with store.answering(Answer(*SLOW_DOWN, share=share)):
        result = workshop.cli("run", job)
        assert store.refused > 3
    assert result.exit_code == 0, result.stderr
    assert stored() == undisturbed


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_endless_throttling_is_said_in_words(
    workshop: Workshop, job: Path, store: Proxy, undisturbed: dict[str, bytes]
) -> None:
    """Exit code 1 with the store's own words; then the same command continues."""
    with store.answering(Answer(*SLOW_DOWN, method="PUT", part="/data/")):
        result = workshop.cli("run", job)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot be written (Please reduce your request rate.); " in line
    assert workshop.cli("run", job).exit_code == 0
    assert stored() == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusal", "part"),
    [(EXPIRED, ""), (EXPIRED, "/out/"), (EXPIRED, "/in/"), (DENIED, "/in/"), (DENIED, "prefix=in")],
    ids=["expired", "expired output", "expired input", "denied input", "denied listing"],
)
@pytest.mark.usefixtures("impatient")
def test_credentials_that_are_not_accepted_are_told(
    workshop: Workshop, job: Path, store: Proxy, refusal: tuple[int, str, str], part: str
) -> None:
    """At the start: one line that names them, no traceback, and nothing written."""
    with store.answering(Answer(*refusal, part=part)):
        result = workshop.cli("run", job)
    assert result.exit_code in (1, 2)
    assert "credentials" in result.stderr
    assert "fault of corpusmill" not in result.stderr
    assert stored() == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["/data/", "/in/"])
def test_credentials_that_expire_in_the_middle_are_told(
    workshop: Workshop, job: Path, store: Proxy, undisturbed: dict[str, bytes], part: str
) -> None:
    """Exit code 1 and why; what was committed stays, and with new ones the same command continues."""
    with driver(job, "--executor", "inline") as process:
        wait_for(2, process)
        with store.answering(Answer(*EXPIRED, part=part)):
            _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "credentials" in line
    assert "expired" in line
    found = stored()
    assert {name: undisturbed[name] for name in found} == found
    assert len(found) < 7
    assert workshop.cli("run", job).exit_code == 0
    assert stored() == undisturbed


def test_no_credentials_at_all_are_told(workshop: Workshop, job: Path, tmp_path: Path) -> None:
    """The client's own error is no OSError."""
    nowhere = str(tmp_path / "nowhere")
    with environment(
        AWS_ACCESS_KEY_ID=None,
        AWS_SECRET_ACCESS_KEY=None,
        AWS_SESSION_TOKEN=None,
        AWS_SHARED_CREDENTIALS_FILE=nowhere,
        AWS_CONFIG_FILE=nowhere,
        AWS_MAX_ATTEMPTS="1",
    ):
        result = workshop.cli("run", job)
    assert result.exit_code in (1, 2)
    assert "credentials" in result.stderr
    assert "fault of corpusmill" not in result.stderr


@pytest.mark.slow
def test_credentials_of_a_profile(workshop: Workshop, job: Path, tmp_path: Path) -> None:
    """The other place that they may come from."""
    (tmp_path / "aws").write_text(f"[work]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n")
    with environment(
        AWS_ACCESS_KEY_ID=None,
        AWS_SECRET_ACCESS_KEY=None,
        AWS_SESSION_TOKEN=None,
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "aws"),
        AWS_PROFILE="work",
    ):
        result = workshop.cli("run", job)
    assert result.exit_code == 0, result.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_credentials_are_written_nowhere(workshop: Workshop, job: Path, store: Proxy, tmp_path: Path) -> None:
    """Not in the output, the copy of the job, records, messages or tracebacks, of good runs and failed."""
    said = ""
    for answers in (
        [],
        [Answer(*EXPIRED, part="/data/")],
        [Answer(*DENIED)],
        [Answer(*SLOW_DOWN, share=0.1)],
    ):
        for command, *options in (("run", job, "--debug"), ("verify", OUT, "--debug"), ("plan", job)):
            with store.answering(*answers):
                result = workshop.cli(str(command), *options)
            said += result.stdout + result.stderr
        for name in filesystem("s3").find("bucket/out/data")[:3]:
            filesystem("s3").rm_file(name)
    assert "Traceback" in said
    content = b"".join(stored("").values())
    content += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3://bucket/in" in content
    for secret in (SECRET, TOKEN, KEY_ID):
        assert secret not in said
        assert secret.encode() not in content


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:secret123@bucket/in",
        "https://host/in.jsonl?X-Amz-Signature=secret123&x=1",
        "sftp://user:secret123@host/in",
    ],
)
@pytest.mark.parametrize("place", ["input__path", "output__path"])
def test_a_url_that_holds_credentials_is_refused(
    workshop: Workshop, url: str, place: str, tmp_path: Path
) -> None:
    """It would be copied into the output; the message does not repeat it."""
    workshop.numbered(3)
    changes: dict[str, Any] = {place: url}
    result = workshop.cli("run", workshop.job(**changes))
    assert result.exit_code == 2
    assert place.replace("__", ".") in result.stderr
    assert "holds a password or a signature" in result.stderr
    assert "secret123" not in result.stderr
    assert not workshop.output.exists()


def test_a_changed_object_fails_its_unit(workshop: Workshop, job: Path) -> None:
    """What the client listed before is not what it says now."""
    before = stat_file("s3://bucket/in/b.jsonl")
    (listed,) = [f for f in filesystem("s3").ls("bucket/in", detail=True) if f["name"].endswith("b.jsonl")]
    assert storage.stored_file(filesystem("s3"), listed["name"], listed) == before
    put("in/b.jsonl", lines(24, 20) + b"No json\n")
    assert stat_file("s3://bucket/in/b.jsonl") != before


def test_a_put_is_a_commit_and_happens_once(store: Proxy) -> None:
    """A conditional put: the second of two writers is told, and the object stays the first one's."""
    folder = OutputFolder.of(OUT, "arrow")
    assert folder.create(folder.data("u"), b"first")
    assert not folder.create(folder.data("u"), b"second")
    assert stored() == {"u.arrow": b"first"}


@pytest.mark.slow
def test_a_large_file_appears_when_its_last_part_is_there(store: Proxy) -> None:
    """A multipart upload that is not completed leaves no object; completed, it happens once too."""
    folder = OutputFolder.of(OUT, "arrow")
    content = os.urandom(1 << 20) * 101
    broken = Answer(500, "InternalError", "We encountered an internal error.", method="POST", part="uploadId")
    with environment(AWS_MAX_ATTEMPTS="1"), store.answering(broken):
        with pytest.raises(OutputError, match="cannot be written"):
            folder.create(folder.data("u"), content)
        assert folder.committed() == set()
    assert folder.create(folder.data("u"), content)
    assert stored() == {"u.arrow": content}
