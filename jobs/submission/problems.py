"""What can go wrong between here and a cluster's Jobs API."""

from corpusmill.pipeline.errors import CorpusmillError


class SubmissionError(CorpusmillError):
    """The cluster refused, or has no such submission."""


class ClusterUnreachable(SubmissionError):  # noqa: N818
    """No Jobs API answers at the address."""
