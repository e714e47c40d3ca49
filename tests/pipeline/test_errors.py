"""One line of an error: what a message has room for."""

import pytest

from corpusmill.pipeline.errors import first_line, in_a_line


@pytest.mark.parametrize(
    ("error", "line", "typed"),
    [
        (ValueError("too long\nsecond line"), "too long", "ValueError: too long"),
        (ValueError("\n \nbelow"), "below", "ValueError: below"),
        (KeyError(), "KeyError", "KeyError"),
        (OSError(2, "No such file"), "[Errno 2] No such file", "FileNotFoundError: [Errno 2] No such file"),
    ],
)
def test_an_errors_first_line_is_the_first_that_says_something(
    error: Exception, line: str, typed: str
) -> None:
    """An error without words is named by its type."""
    assert first_line(error) == line
    assert in_a_line(error) == typed
