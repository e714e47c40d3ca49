"""What can be wrong with a schedule."""

from corpusmill.pipeline.errors import CorpusmillError


class ScheduleError(CorpusmillError):
    """A schedule that cannot be, or is not there."""
