"""The traces that scalers are compared on, about an hour each."""

import math

from support.simulation import Model, Trace, at_rate

HOUR = 3600
MEDIUM = Model(rate=2_000, startup=8, max_workers=50)
UNIT = 20_000
"""Tokens of a unit: ten seconds of the medium model's work."""


def burst() -> Trace:
    """Every fifteen minutes eight minutes of work for all workers at once."""
    load = 480 * MEDIUM.max_workers * MEDIUM.rate
    count = int(load / UNIT)
    units = [(900.0 * i + j * 1e-3, UNIT) for i in range(4) for j in range(count)]
    return Trace("burst", tuple(units), (MEDIUM,), 50)


def ramp() -> Trace:
    """From nothing to 90 % of what the pool can do, and back."""
    top = 0.9 * MEDIUM.max_workers * MEDIUM.rate
    rates = [top * min(t, HOUR - t) / (HOUR / 2) for t in range(HOUR)]
    return Trace("ramp", at_rate(rates, UNIT), (MEDIUM,), 50)


def sawtooth() -> Trace:
    """Ten minutes up to 80 % of the pool, then almost nothing at once, again and again."""
    top = 0.8 * MEDIUM.max_workers * MEDIUM.rate
    rates = [top * max((t % 600) / 600, 0.02) for t in range(HOUR)]
    return Trace("sawtooth", at_rate(rates, UNIT), (MEDIUM,), 50)


def noisy() -> Trace:
    """Half of the pool's rate, with waves of 30 % of a minute and of seven seconds on it."""
    half = 0.5 * MEDIUM.max_workers * MEDIUM.rate
    rates = [half * (1 + 0.2 * math.sin(t / 9.5) + 0.1 * math.sin(t * 0.9)) for t in range(HOUR)]
    return Trace("noise", at_rate(rates, UNIT), (MEDIUM,), 50)


def two_models() -> Trace:
    """A slow and a fast model share 40 workers; every unit goes through both."""
    models = (Model(rate=1_000, startup=8, max_workers=40), Model(rate=4_000, startup=8, max_workers=40))
    together = 40 / (1 / 1_000 + 1 / 4_000)
    rates = [together * (0.9 if (t // 600) % 2 == 0 else 0.2) for t in range(HOUR)]
    return Trace("two models", at_rate(rates, UNIT), models, 40)


def slow_start() -> Trace:
    """Starts of a minute, short units, four waves of load."""
    model = Model(rate=2_000, startup=60, max_workers=50)
    top = model.max_workers * model.rate
    rates = [top * (0.8 if (t // 450) % 2 == 0 else 0.1) for t in range(HOUR)]
    return Trace("slow start", at_rate(rates, 4_000), (model,), 50)


def thousand() -> Trace:
    """A thousand workers: a burst, then a load for a third of them, then almost nothing."""
    model = Model(rate=2_000, startup=20, max_workers=1_000)
    top = model.max_workers * model.rate
    count = int(600 * top / UNIT)
    later = at_rate([0.0] * 900 + [top * (0.35 if t < 2100 else 0.02) for t in range(900, HOUR)], UNIT)
    return Trace("1,000 workers", (*((j * 1e-4, UNIT) for j in range(count)), *later), (model,), 1_000)


def held_back() -> Trace:
    """A job's own case: a reader as fast as 35 workers, held back at four open units a worker."""
    rate = 35 * MEDIUM.rate
    count = int(HOUR * rate / UNIT)
    return Trace("held back", tuple((i * UNIT / rate, UNIT) for i in range(count)), (MEDIUM,), 50, room=202)


GPU = Model(rate=100_000, startup=20, max_workers=2, min_workers=0, assumed=100_000, kind="gpu")
CPU = Model(rate=1_000, startup=8, max_workers=40, min_workers=0, assumed=1_000)
"""Two pools of one model: a GPU worker does what a hundred CPU workers do."""


def beside(name: str, units: tuple[tuple[float, int], ...], *pools: Model, room: int | None = None) -> Trace:
    """One queue, and these pools at it."""
    return Trace(name, units, pools, 40, room=room, lines=(0,) * len(pools), gpus=2)


def light(*pools: Model) -> Trace:
    """Every ten minutes what two GPU workers do in half a minute."""
    units = tuple((600.0 * i + j * 1e-3, UNIT) for i in range(6) for j in range(300))
    return beside("light", units, *pools)


def heavy(*pools: Model) -> Trace:
    """All at once: an hour's work of two GPU workers."""
    return beside("heavy", tuple((j * 1e-4, UNIT) for j in range(36_000)), *pools)


def fed(*pools: Model) -> Trace:
    """A reader that feeds 1.1 times what the GPU workers do, held back at four open units a worker."""
    return beside("fed", at_rate([220_000.0] * 1_800, UNIT), *pools, room=170)


def waves(*pools: Model) -> Trace:
    """Ten minutes of a fifth more than the GPU workers do, ten of a third of it, again and again."""
    rates = [240_000.0 if (t // 600) % 2 == 0 else 70_000.0 for t in range(HOUR)]
    return beside("waves", at_rate(rates, UNIT), *pools)


def tail(*pools: Model) -> Trace:
    """Units that take a CPU worker 200 s, of which the GPU workers do all there are in 90 s."""
    return beside("tail", tuple((j * 1e-4, 200_000) for j in range(70)), *pools)


PAIRS = (light, heavy, fed, waves, tail)
TRACES = (burst, ramp, sawtooth, noisy, two_models, slow_start, thousand, held_back)
