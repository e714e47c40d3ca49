"""Bounds on restarts: a pool whose workers only ever die ends the job instead of starting them for ever."""

from ray.exceptions import RayActorError, RayError

from corpusmill.pipeline.errors import JobFailed

MAX_FAILED_STARTS = 3
MAX_DEATHS = 20
"""Both per worker of the pool, so that the loss of a large node is not taken for a fault of the model."""


class Streaks:
    """Counts one model's deaths and failed starts in a row; JobFailed at the limits."""

    def __init__(self, model: str, workers: int) -> None:
        self._model, self._workers = model, workers
        self._deaths = self._failed_starts = 0

    def started(self) -> None:
        """Note that a worker has loaded the model."""
        self._failed_starts = 0

    def finished(self) -> None:
        """Note that a worker has finished something."""
        self._deaths = 0

    def died(self) -> None:
        """Note that a worker died at work."""
        self._deaths += 1
        if self._deaths >= MAX_DEATHS * self._workers:
            raise JobFailed(
                f"model {self._model}: {self._deaths} workers in a row died and none finished anything; is "
                "there enough memory for it? Run again with --debug to see the workers' own output"
            )

    def died_starting(self, error: RayError) -> None:
        """Note that a worker died before it had loaded the model."""
        if isinstance(error, RayActorError) and error.actor_init_failed:
            reason = str(error).strip().splitlines()[-1]
            raise JobFailed(f"model {self._model}: a worker could not load it: {reason}")
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS * self._workers:
            raise JobFailed(
                f"model {self._model}: {self._failed_starts} workers in a row died while loading; is there "
                "enough memory for the model? Run again with --debug to see the workers' own output"
            )
