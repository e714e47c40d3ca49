"""Where a checkpoint comes from, and what makes it another one."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from workshop import Workshop

from corpusmill.pipeline.checkpoints.find import digest, find_checkpoint
from corpusmill.pipeline.errors import InputError


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the hub: `answer` is the folder it returns or the error it raises, `asked` what it got."""
    state: dict[str, Any] = {"asked": []}

    def snapshot_download(repo_id: str, **options: Any) -> str:
        state["asked"].append((repo_id, options))
        if isinstance(state["answer"], Exception):
            raise state["answer"]
        return str(state["answer"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return state


@pytest.mark.parametrize(
    ("url", "name", "revision"),
    [
        ("hf://org/model", "org/model", None),
        ("hf://org/model@v2", "org/model", "v2"),
        ("hf://bert", "bert", None),
    ],
)
def test_a_hub_address_is_fetched_through_the_hubs_library(
    hub: dict[str, Any], checkpoints: Path, url: str, name: str, revision: str | None
) -> None:
    """With its revision, and only the files that a job reads."""
    hub["answer"] = checkpoints / "embedder"
    assert find_checkpoint(url).digest == digest(checkpoints / "embedder")
    ((asked, options),) = hub["asked"]
    assert (asked, options["revision"]) == (name, revision)
    assert {"*.json", "*.safetensors", "*.txt"} <= set(options["allow_patterns"])
    assert not any("bin" in pattern for pattern in options["allow_patterns"])


def test_a_job_runs_on_a_checkpoint_of_the_hub(hub: dict[str, Any], workshop: Workshop) -> None:
    """And is the same job as with the folder."""
    workshop.numbered(4)
    hub["answer"] = workshop.embedder
    workshop.run(models=[{"checkpoint": "hf://org/model"}])
    assert workshop.run().skipped_units == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            LocalEntryNotFoundError("offline\nmore"),
            ("cannot be fetched (offline)", "check the network, or give a folder"),
        ),
        (OSError("disk full"), ("cannot be fetched (disk full)",)),
        (HFValidationError("bad name"), ("no such model (bad name)", "expected hf://org/name[@revision]")),
    ],
)
def test_a_hub_that_cannot_give_it_is_told_in_one_line(
    hub: dict[str, Any], workshop: Workshop, error: Exception, words: tuple[str, ...]
) -> None:
    """Under the model's field, with what to do."""
    workshop.numbered(4)
    hub["answer"] = error
    job = workshop.job(models=[{"checkpoint": "hf://org/model"}])
    result = workshop.cli("run", job)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {job}: models[0].checkpoint: hf://org/model: ")
    assert len(result.stderr.splitlines()) == 1
    assert [word for word in words if word not in result.stderr] == []


def test_without_a_network_the_hub_is_told_to_be_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The library itself, offline and with nothing in its cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="hf://org/model: cannot be fetched") as caught:
        find_checkpoint("hf://org/model")
    assert "check the network, or give a folder" in str(caught.value)


@pytest.mark.parametrize("name", ["hf://", "hf://a/b/c", "hf://org/a model"])
def test_a_name_that_no_model_can_have_is_told(name: str) -> None:
    """By the rules of the hub's library."""
    with pytest.raises(InputError, match=r"expected hf://org/name\[@revision\]"):
        find_checkpoint(name)


def test_a_folder_may_be_relative_or_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both become absolute: workers have other working directories."""
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_checkpoint("model") == find_checkpoint("~/model")
    assert find_checkpoint("model").folder == tmp_path / "model"


@pytest.fixture
def copied(checkpoints: Path, tmp_path: Path) -> Path:
    """A checkpoint to change."""
    return Path(shutil.copytree(checkpoints / "embedder", tmp_path / "copied"))


def sizes_in(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*")}


def one_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def one_word(folder: Path) -> None:
    path = folder / "vocab.txt"
    path.write_text(path.read_text().replace("water", "wader"))


def the_pooling(folder: Path) -> None:
    path = folder / "1_Pooling" / "config.json"
    path.write_text(
        path.read_text().replace('"word_embedding_dimension": 16', '"word_embedding_dimension": 61')
    )


@pytest.mark.parametrize("change", [one_weight, one_word, the_pooling])
def test_whatever_can_change_a_result_changes_the_digest(copied: Path, change: Any) -> None:
    """One bit of one weight, one token, one setting in a sub-folder, no file longer or shorter."""
    before, sizes = digest(copied), sizes_in(copied)
    change(copied)
    assert sizes_in(copied) == sizes
    assert digest(copied) != before


def test_a_copy_with_other_notes_has_the_same_digest(copied: Path, checkpoints: Path) -> None:
    """The place, the model card, hidden files and other runtimes' folders do not matter: none is fetched."""
    (copied / "README.md").write_text("a model card")
    for name in (".cache/download.json", "onnx/quantized/config.json"):
        (copied / name).parent.mkdir(parents=True)
        (copied / name).write_text("{}")
    assert digest(copied) == digest(checkpoints / "embedder")
