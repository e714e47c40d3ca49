"""A worker's memory stays where it is, whatever shapes it meets."""

import os
import subprocess
import sys

import pytest
import torch

from corpusmill.models.linear import prepacking
from corpusmill.pipeline.memory import ENVIRONMENT, keep_memory

ROOM = 150.0
"""Megabytes that a thousand shapes may take after the first few hundred; without limits they take 650."""
MANY_SHAPES = """
import os, sys
from corpusmill.pipeline.memory import keep_memory
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
