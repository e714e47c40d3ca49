"""How the suite is shared out: tests that start Ray run one after another, in one process, beside all others."""

import pytest

CLUSTERS = {"ray_cluster", "head"}
"""Fixtures that start a Ray cluster once per session."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all tests of a Ray cluster to one process (`pytest -n 2 --dist loadgroup`), so that it starts once."""
    for item in items:
        if CLUSTERS & set(getattr(item, "fixturenames", ())) or item.path.parent.name == "engine":
            item.add_marker(pytest.mark.xdist_group("ray"))
