"""CPUs that may be used: those of the process, within the container's quota."""

import os
import platform
from pathlib import Path

import pytest

from corpusmill.pipeline import machine


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("400000 100000\n", 4),
        ("50000 100000\n", 1),
        ("9900000 100000\n", 16),
        ("max 100000\n", 16),
        ("", 16),
        (None, 16),
    ],
)
def test_a_quota_bounds_what_the_process_may_run_on(
    quota: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a CPU are left out, but for the first; no quota, or none that can be read, is no bound."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert machine.usable_cpus() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model name\t: AMD EPYC 9V74\nflags\t\t: fpu avx2\n\nmodel name\t: other\nflags\t\t: sse\n",
            machine.Processor("AMD EPYC 9V74", frozenset({"fpu", "avx2"})),
        ),
        (
            "BogoMIPS\t: 50.00\nFeatures\t: fp asimd\n",
            machine.Processor("aarch64", frozenset({"fp", "asimd"})),
        ),
        (None, machine.Processor("aarch64", frozenset())),
    ],
)
def test_a_processor_is_what_its_first_core_says(
    text: str | None, expected: machine.Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On x86 and on ARM, which names no model; elsewhere its kind is all that is known."""
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert machine.processor.__wrapped__() == expected
