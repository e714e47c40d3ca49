"""A worker's memory stays where it is, whatever shapes it meets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.tiny_checkpoints import write_checkpoint

from corpusmill.models.cpu.layout import prepacking
from corpusmill.models.cpu.native.bindings import SWITCH
from corpusmill.pipeline import machine
from corpusmill.pipeline.machine import ENVIRONMENT, MemoryRelease, keep_memory

ROOM = 150.0
"""Megabytes that a thousand shapes may take after the first few hundred; without limits they take 650."""
MANY_SHAPES = """
import os, sys
from corpusmill.pipeline.machine import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
import torch
torch.set_num_threads(1)

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def meet(count, length):
    q, k = torch.ones(count, length, 32), torch.ones(count, 32, length)
    torch.bmm(q.bfloat16(), k.bfloat16())

shapes = [(1 + i % 7, 16 + i // 7) for i in range(1600)]
for shape in shapes[:400]:
    meet(*shape)
before = megabytes()
for shape in shapes[400:]:
    meet(*shape)
print(megabytes() - before)
"""

ONE_BATCH = """
import sys
from corpusmill.pipeline.machine import keep_memory
keep_memory()
import torch
torch.set_num_threads(1)
from corpusmill.models import PackedTokens, load_model
model = load_model(sys.argv[1], dtype="bfloat16")
batch = PackedTokens.from_sequences([[5] * length for length in range(63, 0, -1)])
for _ in range(2):
    print("begin", flush=True)
    model(batch)
"""


def growth(how: str, **environment: str) -> float:
    """Megabytes by which a process grows over a thousand new shapes."""
    clean = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-c", MANY_SHAPES, how],
        capture_output=True,
        text=True,
        check=True,
        env=clean | environment,
    )
    return float(done.stdout)


@pytest.mark.skipif(
    not (sys.platform == "linux" and prepacking("cpu", torch.bfloat16)[0]),
    reason="needs /proc, and oneDNN's bfloat16 on this CPU",
)
def test_new_shapes_do_not_take_memory_for_ever() -> None:
    """A job meets thousands of them: each length, in batches of each size."""
    assert growth("keep") < ROOM < growth("as it is")


def test_a_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself."""
    for name in (*ENVIRONMENT, "MALLOC_TOP_PAD_"):
        monkeypatch.setenv(name, "7")
    keep_memory()
    assert {os.environ[name] for name in ENVIRONMENT} == {"7"}


@pytest.mark.skipif(not prepacking("cpu", torch.bfloat16)[0], reason="needs oneDNN's bfloat16 on this CPU")
def test_a_batch_of_every_length_finds_its_plans_again(tmp_path: Path) -> None:
    """All layers take turns at them: were there one too few, each would be made anew in every layer."""
    folder = write_checkpoint(tmp_path, "distilbert", "base")
    done = subprocess.run(
        [sys.executable, "-c", ONE_BATCH, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ONEDNN_VERBOSE": "2", SWITCH: "0"},
    )
    _, first, second = done.stdout.split("begin")
    assert first.count("create:cache_miss") > 100
    assert second.count("create:cache_miss") == 0


def test_memory_is_released_at_once_and_then_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after every unit."""
    released: list[int] = []
    monkeypatch.setattr(machine, "_of_glibc", {"malloc_trim": released.append}.get)
    release = MemoryRelease(every=60.0)
    for now, times in ((10.0, 1), (11.0, 1), (69.9, 1), (70.0, 2), (129.0, 2), (500.0, 3)):
        release.when_due(now)
        assert len(released) == times
