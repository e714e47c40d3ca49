"""What reading and committing processes import: they start by the hundred, and must start fast."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "tokenize.tokens",
        "input.readers",
        "blocks",
        "output.commit",
        "output.manifest",
        "input.planning",
        "engine.stages",
    ],
)
def test_reading_and_committing_need_no_torch(module: str) -> None:
    """Only encoders pay for it."""
    heavy = {"torch", "ray", "transformers"}
    code = f"import sys, corpusmill.pipeline.{module}; print({heavy} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
