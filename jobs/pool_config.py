"""The job file's pool of a model: how many workers serve it, and what each holds."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from corpusmill.jobs.section import Auto, Section


class PoolConfig(Section):
    """How many workers serve a model, and what each holds."""

    min_workers: Annotated[int, Field(ge=0)] = 1
    """Least number of workers. With 0 the pool starts without any."""
    max_workers: Auto | Annotated[int, Field(ge=1)] = "auto"
    """Most workers. `auto` follows the machine or the cluster."""
    cpus: Auto | Annotated[int, Field(ge=1)] = "auto"
    """CPU threads of one worker. `auto` is 1 for a model on CPUs."""
    gpus: Auto | Annotated[float, Field(ge=0)] | Annotated[int, Field(ge=0)] = "auto"
    """GPUs of one worker; 0.25 places four workers on one GPU. `auto` shares the GPUs among the models."""

    @field_validator("gpus")
    @classmethod
    def _several_gpus_are_whole(cls, gpus: float | str) -> float | str:
        if isinstance(gpus, float) and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"expected a part of a GPU, or a whole number of them, got {gpus:g}")
        return gpus

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "PoolConfig":
        if self.max_workers != "auto" and self.min_workers > self.max_workers:
            raise ValueError(
                f"expected min_workers at most max_workers, got {self.min_workers} and {self.max_workers}"
            )
        return self
