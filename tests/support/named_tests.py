"""The names of all tests, for tables that say which test shows what."""

import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]


@cache
def all_names() -> frozenset[str]:
    """Every function of the tests whose name begins with `test_`."""
    texts = (path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE))
