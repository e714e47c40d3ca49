"""Autoscaling in simulated time: our policy, a fixed pool and Ray Data's default on the tests' traces.

    python benchmarks/autoscaling.py docs/benchmarks/autoscaling_simulated_DATE

It prints the table and writes the chart, DATE.svg. The figures are the same on every machine.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the simulator is the tests' own

from support.scalers import Fixed, Ours, RayDefault
from support.simulation import Outcome, Trace, World
from support.traces import TRACES

SCALERS = {"corpusmill": Ours, "Ray Data default": RayDefault, "fixed pool": Fixed}
COLOURS = {"corpusmill": "#1b6ca8", "Ray Data default": "#d9822b", "fixed pool": "#9aa0a6"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 860, 110, 120, 46, 34


def outcomes_of(trace: Trace) -> dict[str, Outcome]:
    """Return each scaler's outcome on a trace."""
    found = {}
    for name, scaler in SCALERS.items():
        world = World(trace)
        found[name] = world.run(Fixed() if scaler is Fixed else scaler(world))
    return found


def table_lines(results: dict[str, dict[str, Outcome]]) -> Iterator[str]:
    """Yield the table's lines."""
    yield (
        "| trace | completion, s: ours | Ray Data | fixed | worker-hours: ours | Ray Data | fixed | "
        "ours / Ray Data | most workers: ours, Ray Data |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for trace, found in results.items():
        ours, ray, fixed = (found[name] for name in SCALERS)
        hours = [outcome.worker_seconds / 3600 for outcome in (ours, ray, fixed)]
        yield (
            f"| {trace} | {ours.seconds:,.0f} | {ray.seconds:,.0f} | {fixed.seconds:,.0f} | "
            f"{hours[0]:,.1f} | {hours[1]:,.1f} | {hours[2]:,.1f} | {hours[0] / hours[1]:.2f} | "
            f"{ours.peak:,}, {ray.peak:,} |"
        )


def step_points(changes: tuple[tuple[float, int], ...], end: float, top: int, y: float) -> str:
    """Return a pool's size over time as the points of a step step_points."""
    x = lambda time: LEFT + (WIDTH - LEFT - 20) * min(time, end) / end  # noqa: E731
    points, last = [], 0
    for time, size in (*changes, (end, changes[-1][1])):
        points += [f"{x(time):.1f},{y + HEIGHT * (1 - last / top):.1f}"] * (time > 0)
        points += [f"{x(time):.1f},{y + HEIGHT * (1 - size / top):.1f}"]
        last = size
    return " ".join(dict.fromkeys(points))


def chart(results: dict[str, dict[str, Outcome]]) -> str:
    """Return a chart of the first pool's workers over time, one strip per trace."""
    height = TOP + len(results) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">Workers over simulated time, first model</text>',
    ]
    for i, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{LEFT + 330 + i * 150}" y="20" fill="{colour}">{name}</text>')
    for i, (trace, found) in enumerate(results.items()):
        y = TOP + i * (HEIGHT + GAP)
        end = max(outcome.seconds for outcome in found.values())
        top = max(size for outcome in found.values() for _, size in outcome.changes[0])
        parts += [
            f'<text x="10" y="{y + HEIGHT / 2}">{trace}</text>',
            f'<text x="{LEFT - 8}" y="{y + 8}" text-anchor="end" fill="#666">{top:,}</text>',
            f'<text x="{WIDTH - 20}" y="{y + HEIGHT + 14}" text-anchor="end" fill="#666">{end:,.0f} s</text>',
            f'<path d="M{LEFT} {y}V{y + HEIGHT}H{WIDTH - 20}" fill="none" stroke="#cccccc"/>',
        ]
        for name in reversed(SCALERS):
            points = step_points(found[name].changes[0], end, top, y)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.3"/>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Replay all traces, print the table, write the chart."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", help="the chart's path without .svg")
    target = parser.parse_args().target
    results = {}
    for make in TRACES:
        trace = make()
        results[trace.name] = outcomes_of(trace)
    print("\n".join(table_lines(results)))
    Path(f"{target}.svg").write_text(chart(results), encoding="utf-8")


if __name__ == "__main__":
    main()
