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


def demo(units: int = 20, *, drain_seconds: float | None = None) -> Trace:
    """A small job on two cores: three models, of which one has most of the work; all is soon read."""
    rates = (6_500, 40_000, 30_000)
    models = tuple(Model(rate, startup=5, max_workers=2) for rate in rates)
    return Trace(
        "demo", tuple((8.0 + 0.4 * i, 18_000) for i in range(units)), models, 2, drain_seconds=drain_seconds
    )


TRACES = (burst, ramp, sawtooth, noisy, two_models, slow_start, thousand, held_back)
