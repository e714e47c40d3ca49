"""What a measurement can fail with."""

from corpusmill.pipeline.errors import CorpusmillError


class BenchError(CorpusmillError):
    """A measurement cannot be made: a library is missing, or a setting does not fit."""
