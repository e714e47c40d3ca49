"""How the tests are shared out to the processes of `make test`."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="this run has one process")
def test_the_tests_of_a_file_share_a_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist reads the group from the node ID; without it each process sets up everything."""
    assert request.node.nodeid.endswith(f"@{request.path.relative_to(request.config.rootpath)}")
