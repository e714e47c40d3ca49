"""The pools that an entry of `models:` asks for: its only one, or those that it lists."""

from collections import Counter
from dataclasses import dataclass

from corpusmill.jobs.config import ModelConfig
from corpusmill.jobs.pool_config import PoolConfig


@dataclass(frozen=True)
class AskedPool:
    """What a job says of one pool, whose fields are at `where`; `label` tells it from the model's others."""

    label: str
    where: str
    device: str
    dtype: str
    tokens_per_batch: int | str
    sizes: PoolConfig


def asked_pools(config: ModelConfig, where: str = "") -> tuple[AskedPool, ...]:
    """Return a model's pools, in the order of the job file."""
    if config.pools is None:
        return (AskedPool("", where, config.device, config.dtype, config.tokens_per_batch, config.pool),)
    named = labels([pool.device for pool in config.pools])
    return tuple(
        AskedPool(
            label,
            f"{where}.pools[{i}]",
            pool.device,
            pool.dtype or config.dtype,
            pool.tokens_per_batch or config.tokens_per_batch,
            pool,
        )
        for i, (label, pool) in enumerate(zip(named, config.pools, strict=True))
    )


def labels(devices: list[str]) -> list[str]:
    """Tell pools apart: by their devices, numbered where one has several."""
    total, seen, found = Counter(devices), Counter[str](), []
    for device in devices:
        seen[device] += 1
        found.append(device if total[device] == 1 else f"{device} {seen[device]}")
    return found
