"""Which tests run in one process: those of a Ray cluster, one after another, beside all others."""

import pytest

CLUSTERS = {"ray_cluster", "head"}
"""Fixtures that start a Ray cluster once per session."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all tests of a Ray cluster to one process of `pytest -n 2 --dist loadgroup`: it starts once."""
    for item in items:
        if CLUSTERS & set(getattr(item, "fixturenames", ())) or item.path.parent.name == "engine":
            item.add_marker(pytest.mark.xdist_group("ray"))
