"""Checkpoints of stores and of the hub: fetched once a node, offline afterwards, never other files."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from support.s3 import Proxy
from support.tiny_checkpoints import write_checkpoint
from workshop import Workshop

from corpusmill.jobs import JobConfig
from corpusmill.jobs.resolve.job import resolve
from corpusmill.pipeline.checkpoints.find import digest, find_checkpoint, model_folder, tokenizer_folder
from corpusmill.pipeline.encode.encoder import Encoder
from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.spec import ModelSpec
from corpusmill.pipeline.storage import locate

COMMIT = "0123456789abcdef" * 2 + "01234567"
MEMORY = "memory://models/tiny"


def put(folder: Path, url: str) -> None:
    """Uploads a checkpoint."""
    fs, path = locate(url)
    for file in folder.rglob("*"):
        if file.is_file():
            fs.pipe_file(f"{path}/{file.relative_to(folder)}", file.read_bytes())


def entries(cache: Path) -> list[str]:
    """The visible folders of the cache."""
    return sorted(path.name for path in cache.iterdir() if not path.name.startswith("."))


def no_leftovers(cache: Path) -> bool:
    return not [path for path in cache.iterdir() if path.suffix in (".partial", ".old", ".tmp")]


@pytest.fixture
def remote(workshop: Workshop) -> Iterator[str]:
    """A checkpoint in a store, with files that no job reads."""
    fsspec.filesystem("memory").store.clear()
    put(workshop.classifier, MEMORY)
    fs, path = locate(MEMORY)
    fs.pipe_file(f"{path}/pytorch_model.bin", b"pickle")
    fs.pipe_file(f"{path}/onnx/a/config.json", b"{}")
    yield MEMORY
    fs.store.clear()


@pytest.fixture
def gets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that the store was asked for."""
    asked: list[str] = []
    kind = type(fsspec.filesystem("memory"))
    whole = kind.get_file

    def get_file(self: Any, path: str, *arguments: Any, **options: Any) -> Any:
        asked.append(path)
        return whole(self, path, *arguments, **options)

    monkeypatch.setattr(kind, "get_file", get_file)
    return asked


def resolved(workshop: Workshop, checkpoint: str) -> ModelSpec:
    """A job's only model."""
    job = JobConfig.from_dict(workshop.fields(models=[{"checkpoint": checkpoint}]))
    return resolve(job).models[0].spec


def elsewhere(spec: ModelSpec) -> ModelSpec:
    """The same model as a worker sees it on a machine where the driver's folders are not."""
    tokenizer = replace(spec.tokenizer, folder="/not/on/this/machine")
    return replace(spec, checkpoint="/not/on/this/machine", tokenizer=tokenizer)


def test_a_job_on_a_url_is_the_job_on_the_folder(workshop: Workshop, remote: str) -> None:
    """Same digest, same bytes: it continues the folder's output, and the other way round."""
    workshop.numbered(20)
    workshop.run(models=[{"checkpoint": remote}])
    assert workshop.run(models=[{"checkpoint": str(workshop.classifier)}]).skipped_units == 3
    stated = json.loads((workshop.output / "_job" / "fingerprint.json").read_text())
    assert stated["models[0].checkpoint"] == digest(workshop.classifier)


def test_a_checkpoint_is_fetched_once(workshop: Workshop, remote: str, gets: list[str], cache: Path) -> None:
    """Into a folder named by its digest, with the files that a job reads and no others."""
    first = find_checkpoint(remote)
    fetched = list(gets)
    assert find_checkpoint(remote) == first
    assert gets == fetched
    assert first.folder == cache / digest(workshop.classifier)
    assert entries(cache) == [first.digest]
    assert no_leftovers(cache)
    names = {path.name for path in first.folder.rglob("*")}
    assert {"config.json", "model.safetensors", "vocab.txt"} <= names
    assert not {"pytorch_model.bin", "onnx"} & names


def test_a_file_url_is_the_folder_itself(workshop: Workshop, cache: Path) -> None:
    """Nothing is copied."""
    assert find_checkpoint(f"file://{workshop.classifier}") == find_checkpoint(str(workshop.classifier))
    assert not cache.exists()


def test_a_changed_store_is_fetched_again(workshop: Workshop, remote: str, cache: Path) -> None:
    """A stale copy would be a silent wrong answer."""
    before = find_checkpoint(remote)
    put(workshop.embedder, remote)
    after = find_checkpoint(remote)
    assert after.digest != before.digest
    assert entries(cache) == sorted([before.digest, after.digest])


def test_a_store_that_does_not_answer_leaves_the_copy(
    remote: str, monkeypatch: pytest.MonkeyPatch, gets: list[str]
) -> None:
    """Offline after the first time; and without a copy a clear error."""
    first = find_checkpoint(remote)

    def silent(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", silent)
    gets.clear()
    assert find_checkpoint(remote) == first
    assert gets == []
    with pytest.raises(InputError, match=r"memory://models/other: cannot be listed \(no route\)"):
        find_checkpoint("memory://models/other")


def test_a_worker_elsewhere_fetches_the_same_digest(
    workshop: Workshop, remote: str, gets: list[str], cache: Path
) -> None:
    """Once for all its node's workers, and then without asking the store."""
    workshop.numbered(4)
    spec = elsewhere(resolved(workshop, remote))
    shutil.rmtree(cache)  # this is another machine now
    gets.clear()
    folder = model_folder(spec)
    assert folder == cache / spec.digest
    Encoder(spec)
    fsspec.filesystem("memory").store.clear()
    assert model_folder(spec) == folder
    assert len(gets) == len(set(gets)) > 2


def test_tokenizing_elsewhere_fetches_no_weights(
    workshop: Workshop, remote: str, gets: list[str], cache: Path
) -> None:
    """The reading nodes need a few small files."""
    workshop.numbered(4)
    spec = elsewhere(resolved(workshop, remote)).tokenizer
    shutil.rmtree(cache)
    gets.clear()
    folder = tokenizer_folder(spec)
    assert Path(folder) == cache / spec.digest
    names = sorted(Path(name).name for name in gets)
    assert names == [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]


def test_a_nested_tokenizer_is_found_elsewhere(workshop: Workshop, cache: Path, tmp_path: Path) -> None:
    """Older sentence-transformers put the encoder in a folder of its own."""
    workshop.numbered(4)
    nested = tmp_path / "nested"
    shutil.copytree(workshop.embedder, nested)
    (nested / "0_Transformer").mkdir()
    for path in list(nested.iterdir()):
        if path.is_file() and path.name != "modules.json":
            path.rename(nested / "0_Transformer" / path.name)
    listing = (nested / "modules.json").read_text().replace('"path": ""', '"path": "0_Transformer"')
    (nested / "modules.json").write_text(listing)
    put(nested, "memory://models/nested")
    spec = elsewhere(resolved(workshop, "memory://models/nested"))
    shutil.rmtree(cache)
    folder = Path(tokenizer_folder(spec.tokenizer))
    assert (folder.name, (folder / "vocab.txt").is_file()) == ("0_Transformer", True)


def test_a_folder_that_a_worker_does_not_have_says_what_to_do(workshop: Workshop) -> None:
    """In place of a stack trace about a missing file."""
    workshop.numbered(4)
    spec = elsewhere(resolved(workshop, str(workshop.classifier)))
    for call, part in ((model_folder, spec), (tokenizer_folder, spec.tokenizer)):
        with pytest.raises(InputError, match="no such folder on this worker's machine; put"):
            call(part)  # type: ignore[operator]


def test_a_checkpoint_that_changed_under_a_job_is_not_loaded(workshop: Workshop, tmp_path: Path) -> None:
    """Neither its weights nor its tokenizer."""
    workshop.numbered(4)
    folder = tmp_path / "changing"
    shutil.copytree(workshop.classifier, folder)
    spec = resolved(workshop, str(folder))
    write_checkpoint(folder, "distilbert", "text-classification", width=16, layers=1, seed=2)
    with pytest.raises(InputError, match="expected the files that the job was started with"):
        Encoder(spec)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(InputError, match="expected the files that the job was started with"):
        tokenizer_folder(spec.tokenizer)


def test_a_store_that_changed_under_a_job_is_not_used(workshop: Workshop, remote: str, cache: Path) -> None:
    """A worker on another machine never computes with another model."""
    workshop.numbered(4)
    spec = elsewhere(resolved(workshop, remote))
    shutil.rmtree(cache)
    put(workshop.embedder, remote)
    with pytest.raises(InputError, match=rf"started with \(digest {spec.digest}\), found others"):
        model_folder(spec)
    assert entries(cache) == []
    assert no_leftovers(cache)


def test_a_damaged_copy_is_fetched_again(workshop: Workshop, remote: str, gets: list[str]) -> None:
    """On the driver and on a worker, whatever part of it is damaged."""
    workshop.numbered(4)
    spec = resolved(workshop, remote)
    found = find_checkpoint(remote)
    uses: list[Callable[[], Any]] = [lambda: find_checkpoint(remote), lambda: model_folder(spec)]
    for name, use in zip(("model.safetensors", "vocab.txt"), uses, strict=True):
        gets.clear()
        (found.folder / name).write_bytes(b"short")
        use()
        assert gets
        assert digest(found.folder) == found.digest


def test_a_damaged_note_costs_a_download(remote: str, gets: list[str], cache: Path) -> None:
    """Never an error."""
    first = find_checkpoint(remote)
    (note,) = cache.glob(".*.json")
    note.write_text('{"listing": 3')
    gets.clear()
    assert find_checkpoint(remote) == first
    assert gets


def test_a_download_that_breaks_off_leaves_nothing(
    remote: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """The next try begins anew."""

    def broken(self: Any, path: str, target: str, **_: Any) -> None:
        Path(target).write_bytes(b"half")

    with monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem("memory")), "get_file", broken)
        with pytest.raises(InputError, match=r"cannot be fetched \(.*expected \d+ bytes, got 4\)"):
            find_checkpoint(remote)
        assert entries(cache) == []
        assert no_leftovers(cache)
    assert find_checkpoint(remote).folder.is_dir()


def test_a_cache_that_cannot_be_written_says_so(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting to change."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CORPUSMILL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match=r"cache of checkpoints cannot be used .* set CORPUSMILL_CACHE"):
        find_checkpoint(remote)


SLOW = """
import sys, time
from datetime import datetime, timezone
from pathlib import Path
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
from corpusmill.pipeline.checkpoints.find import find_checkpoint

source, log, start = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
fs = fsspec.filesystem("memory")
for file in filter(Path.is_file, source.rglob("*")):
    fs.pipe_file(f"/m/{file.relative_to(source)}", file.read_bytes())
for file in fs.store.values():
    file.created = file.modified = datetime(2020, 1, 1, tzinfo=timezone.utc)

whole = MemoryFileSystem.get_file
def slow(self, path, *arguments, **options):
    with log.open("a") as lines:
        lines.write(path + "\\n")
    time.sleep(0.2)
    whole(self, path, *arguments, **options)
MemoryFileSystem.get_file = slow

time.sleep(max(0.0, start - time.time()))
print(find_checkpoint("memory://m").digest)
"""


@pytest.mark.slow
def test_two_processes_at_once_make_one_download(workshop: Workshop, tmp_path: Path) -> None:
    """The second waits, and finds it there."""
    log = tmp_path / "log"
    arguments = [str(workshop.classifier), str(log), str(time.time() + 4.0)]
    both = [
        subprocess.Popen([sys.executable, "-c", SLOW, *arguments], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in both]
    assert answers == [digest(workshop.classifier)] * 2
    fetched = log.read_text().split()
    assert len(fetched) == len(set(fetched)) > 2


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workshop: Workshop) -> list[dict[str, Any]]:
    """A hub with one model; the library has a part of it on this machine until it is asked online."""
    snapshot = tmp_path / "hub" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    shutil.copy(workshop.classifier / "config.json", snapshot)
    asked: list[dict[str, Any]] = []

    def snapshot_download(repo_id: str, **options: Any) -> str:
        asked.append({"repo_id": repo_id, **options})
        if options["revision"] == "gone":
            raise HFValidationError("no such revision")
        if not options["local_files_only"]:
            shutil.copytree(workshop.classifier, snapshot, dirs_exist_ok=True)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_the_hub_is_asked_once(hub: list[dict[str, Any]], workshop: Workshop, cache: Path) -> None:
    """Its commit is what other nodes fetch."""
    first = find_checkpoint("hf://org/model")
    assert first.source == f"hf://org/model@{COMMIT}"
    assert first.digest == digest(workshop.classifier)
    assert find_checkpoint("hf://org/model") == first
    assert [(call["revision"], call["local_files_only"]) for call in hub] == [(None, False)]


def test_a_worker_uses_what_the_hubs_library_has(
    hub: list[dict[str, Any]], workshop: Workshop, cache: Path
) -> None:
    """If those are the right files; a part of them is not."""
    workshop.numbered(4)
    spec = elsewhere(resolved(workshop, "hf://org/model"))
    shutil.rmtree(cache)
    hub.clear()
    model_folder(spec)
    assert [(call["revision"], call["local_files_only"]) for call in hub] == [(COMMIT, True)]

    shutil.rmtree(cache)
    weights = cache.parent / "hub" / "snapshots" / COMMIT / "model.safetensors"
    weights.unlink()
    hub.clear()
    model_folder(spec)
    assert [call["local_files_only"] for call in hub] == [True, False]
    hub.clear()
    model_folder(spec)
    assert hub == []


def test_a_model_of_the_hub_has_its_own_name(hub: list[dict[str, Any]], workshop: Workshop) -> None:
    """Not that of a folder in the cache."""
    workshop.numbered(4)
    assert resolved(workshop, "hf://org/model@main").title == "model"


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ("hf://org/model@gone", "no such model"),
        (MEMORY + "/wrong", "no checkpoint there"),
        ("memory://models/tiny/config.json", "no checkpoint there"),
    ],
)
def test_a_wrong_name_says_so_at_start(
    hub: list[dict[str, Any]], remote: str, workshop: Workshop, checkpoint: str, words: str
) -> None:
    """Exit code 2, the model's field, one line; `plan` does too."""
    workshop.numbered(4)
    for command in ("run", "plan"):
        job = workshop.job(models=[{"checkpoint": checkpoint}])
        result = workshop.cli(command, job)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {job}: models[0].checkpoint: {checkpoint}: {words}")
        assert len(result.stderr.splitlines()) == 1
    assert not workshop.output.exists()


def test_offline_the_hub_library_gives_what_it_has(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """The driver asks it as usual: it falls back to its own cache itself; without one that is told."""

    def nothing(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("nothing here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)
    with pytest.raises(InputError, match="check the network, or give a folder"):
        find_checkpoint("hf://org/model")


def test_a_job_on_a_checkpoint_in_s3(s3: Proxy, workshop: Workshop, cache: Path) -> None:
    """Credentials and endpoint come from the environment; a wrong key or bucket is told at start."""
    workshop.numbered(10)
    put(workshop.embedder, "s3://bucket/models/tiny")
    workshop.run(models=[{"checkpoint": "s3://bucket/models/tiny"}])
    assert workshop.run().skipped_units == 2
    assert entries(cache) == [digest(workshop.embedder)]
    for wrong in ("s3://bucket/models/other", "s3://no-such-bucket/models/tiny"):
        result = workshop.cli("run", workshop.job(models=[{"checkpoint": wrong}]))
        assert result.exit_code == 2
        assert f"models[0].checkpoint: {wrong}: " in result.stderr
