"""What holds for all tests: which ones share a process, and that none leaves a process behind."""

import os
from collections.abc import Iterator

import psutil
import pytest
from support import marked_processes

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is loaded: threads of two test processes on two cores would wait for each other.
    os.environ |= {"OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1"}

CLUSTERS = {"ray_cluster", "head"}
"""Fixtures that start a Ray cluster once per session."""
MARK = "CORPUSMILL_TEST_SESSION"
SECONDS = 30.0
"""What ends because its parent is gone has this long for it."""


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """Fail where a test has left a process, and end it; PYTEST_CURRENT_TEST in it names the test."""
    os.environ[MARK] = str(os.getpid())
    yield
    left = [_named(each) for each in marked_processes.left(MARK, os.environ[MARK], seconds=SECONDS)]
    marked_processes.end(MARK, os.environ[MARK])
    assert left == [], "processes that tests have started and left running"


def _named(process: psutil.Process) -> str:
    test = process.environ().get("PYTEST_CURRENT_TEST", "no test")
    return f"{process.pid} {' '.join(process.cmdline())[:80]} of {test}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give a file's tests to one process of `pytest -n 2 --dist loadgroup`: they share what the file sets up.

    All tests of a Ray cluster share one process, because the cluster starts once. They take longest, so they
    come first. (First of all hooks: that of xdist, which reads the groups, would else run before this one.)
    """
    groups: dict[pytest.Item, str] = {}
    for item in items:
        uses_ray = CLUSTERS & set(getattr(item, "fixturenames", ())) or item.path.parent.name == "engine"
        groups[item] = "ray" if uses_ray else str(item.path.relative_to(config.rootpath))
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    items.sort(key=lambda item: groups[item] != "ray")
