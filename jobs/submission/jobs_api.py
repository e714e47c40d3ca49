"""A client of Ray's Jobs API with our own records; no other file of this folder imports Ray."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from corpusmill.jobs.errors import ClusterUnreachable, SubmissionError

T = TypeVar("T")
END_STATES = ("succeeded", "failed", "stopped")


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """A submission as the cluster reports it; times are seconds since the epoch, None before they happen."""

    id: str
    state: str
    message: str
    started: float | None
    ended: float | None
    metadata: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether the submission has ended."""
        return self.state in END_STATES


class JobsApi:
    """A cluster's Jobs API; without an answer ClusterUnreachable is raised."""

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise SubmissionError(
                f"expected the address of a cluster's dashboard such as http://head:8265, got {address!r}"
            ).at("--address")
        self.address = address.rstrip("/")
        self._client = self._call(self._connect)

    def submit(
        self, submission: str, command: str, runtime_env: dict[str, Any], metadata: dict[str, str]
    ) -> None:
        """Start a command on the cluster; an id that is in use is a SubmissionError."""
        self._call(
            lambda: self._client.submit_job(
                entrypoint=command, submission_id=submission, runtime_env=runtime_env, metadata=metadata
            )
        )

    def all(self) -> list[ClusterJob]:
        """Return all submissions of the cluster, newest first."""
        jobs = [_job(details) for details in self._call(self._client.list_jobs) if details.submission_id]
        return sorted(jobs, key=lambda job: job.started or 0.0, reverse=True)

    def job(self, submission: str) -> ClusterJob:
        """Return one submission."""
        return _job(self._call(lambda: self._client.get_job_info(submission)))

    def stop(self, submission: str) -> bool:
        """Send SIGTERM to a submission; return False if it has already ended."""
        return bool(self._call(lambda: self._client.stop_job(submission)))

    def logs(self, submission: str) -> str:
        """Return what a submission has printed so far."""
        return str(self._call(lambda: self._client.get_job_logs(submission)))

    def follow(self, submission: str) -> Iterator[str]:
        """Yield what a submission prints, until it ends."""
        self.job(submission)
        chunks: AsyncIterator[str] = self._client.tail_job_logs(submission)
        with asyncio.Runner() as runner:
            try:
                while (chunk := runner.run(_next(chunks))) is not None:
                    yield chunk
            finally:
                runner.run(_closed(chunks))

    def _connect(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        # It announces each upload at INFO on standard error.
        for name in ("dashboard.modules.dashboard_sdk", "_private.runtime_env.packaging"):
            logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
        return JobSubmissionClient(self.address, headers=token_headers())

    def _call(self, request: Callable[[], T]) -> T:
        from ray.exceptions import AuthenticationError

        try:
            return request()
        except ConnectionError as error:
            raise ClusterUnreachable(
                f"{self.address}: no Ray Jobs API answers here ({_reason(error)}); expected the address of a "
                "running cluster's dashboard, such as http://head:8265"
            ) from error
        except AuthenticationError:
            raise SubmissionError(
                f"{self.address}: the cluster refuses this user's token; expected the token of the head, "
                "which is in ~/.ray/auth_token there: set RAY_AUTH_TOKEN to it, or RAY_AUTH_TOKEN_PATH to "
                "its file"
            ) from None
        except RuntimeError as error:
            raise SubmissionError(f"{self.address}: {_reason(error)}") from error


async def _next(chunks: AsyncIterator[str]) -> str | None:
    return await anext(chunks, None)


async def _closed(chunks: AsyncIterator[str]) -> None:
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def _job(details: Any) -> ClusterJob:
    return ClusterJob(
        id=details.submission_id or "",
        state=str(details.status.value).lower(),
        message=(details.message or "").strip(),
        started=None if details.start_time is None else details.start_time / 1000,
        ended=None if details.end_time is None else details.end_time / 1000,
        metadata=dict(details.metadata or {}),
    )


def _reason(error: Exception) -> str:
    """Return the last line of an error: the server answers with a traceback."""
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines()]
    lines_with_text = [line for line in lines if line and line != "."]
    reason = lines_with_text[-1] if lines_with_text else type(error).__name__
    return reason.removeprefix("ValueError: ").removeprefix("RuntimeError: ")


# The token that a Ray head requires by default, from the places where Ray looks for it.


def token_headers() -> dict[str, str]:
    """Return the HTTP header with this user's token; none without a token, or with RAY_AUTH_MODE=disabled.

    The client of Ray's Jobs API sends it only if RAY_AUTH_MODE=token is set. A head with default settings
    sets it for itself, but not for its users.
    """
    token = os.environ.get("RAY_AUTH_TOKEN") or _from_file()
    if not token or os.environ.get("RAY_AUTH_MODE") == "disabled":
        return {}
    return {"Authorization": f"Bearer {token}"}


def _from_file() -> str:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return ""
