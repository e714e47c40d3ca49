"""Charts as inline SVG. markupsafe escapes every text that comes from a corpus."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 220, 64, 26, 10
COLORS = 8
"""The colours of the page's style, classes k0 to k7; further series are grey, k8."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name and its points, times in seconds since the epoch."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on a time axis, with a tooltip."""

    time: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a projection: its place, its group and its tooltip."""

    x: float
    y: float
    group: int
    text: str


def lines(series: Sequence[Series], *, steps: bool = False, marks: Sequence[Mark] = ()) -> Markup:
    """Draw lines over time, with `steps` as steps; marks are vertical lines with a tooltip."""
    times = [time for one in series for time, _ in one.points] + [mark.time for mark in marks]
    values = [value for one in series for _, value in one.points]
    first, last = min(times), max(times)
    span = last - first or 1.0
    top = _round_up(max([*values, 0.0]))

    def at(time: float, value: float) -> tuple[float, float]:
        return LEFT + (time - first) / span * (WIDTH - LEFT - 10), _y(value, top)

    body = _grid(top) + _time_axis(first, last)
    for mark in marks:
        x, _ = at(mark.time, 0)
        body += Markup(
            '<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"><title>{3}</title></line>'
        ).format(x, TOP, HEIGHT - BOTTOM, mark.text)
    for k, one in enumerate(series):
        path, previous = "", 0.0
        for i, (time, value) in enumerate(one.points):
            x, y = at(time, value)
            path += f"{'M' if i == 0 else 'L'}{x:.1f} {previous if steps and i else y:.1f}"
            path += f"L{x:.1f} {y:.1f}" if steps and i else ""
            previous = y
        title = Markup("<title>{}</title>").format(one.name)
        body += Markup('<path class="line k{}" d="{}">{}</path>').format(min(k, COLORS), path, title)
    return _svg(body, HEIGHT)


def bars(rows: Sequence[tuple[str, float]], *, share: bool = True) -> Markup:
    """Draw one bar per name, with the number beside it; `share` adds its share of the sum."""
    total = sum(value for _, value in rows) or 1.0
    widest = max([value for _, value in rows] or [1.0]) or 1.0
    body, y = Markup(), 4
    for name, value in rows:
        width = value / widest * (WIDTH - 330)
        number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
        number += f"  ({value / total:.1%})" if share else ""
        body += Markup(
            '<g><title>{0}: {1}</title><text class="name" x="172" y="{2}">{3}</text>'
            '<rect class="bar" x="180" y="{4}" width="{5:.1f}" height="14" rx="2"/>'
            '<text x="{6:.1f}" y="{2}">{1}</text></g>'
        ).format(name, number, y + 12, _short(name, 26), y, max(width, 1.0), 188 + width)
        y += 20
    return _svg(body, y + 4)


def stacked(rows: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """Draw one bar of coloured parts per name, with the sum beside it."""
    widest = max([sum(values) for _, values in rows] or [1.0]) or 1.0
    body, y = Markup(), 4
    for name, values in rows:
        body += Markup('<text class="name" x="172" y="{}">{}</text>').format(y + 12, _short(name, 26))
        x = 180.0
        for k, value in enumerate(values):
            width = value / widest * (WIDTH - 330)
            if width > 0:
                body += Markup(
                    '<rect class="part k{}" x="{:.1f}" y="{}" width="{:.1f}" height="14">'
                    "<title>{}: {:,.1f}</title></rect>"
                ).format(min(k, COLORS), x, y, max(width, 0.5), name, value)
            x += width
        body += Markup('<text x="{:.1f}" y="{}">{:,.1f}</text>').format(x + 8, y + 12, sum(values))
        y += 20
    return _svg(body, y + 4)


def histogram(edges: Sequence[float], counts: Sequence[int], *, unit: str) -> Markup:
    """Draw the number of values between neighbouring edges."""
    top = _round_up(max([*counts, 1]))
    each = (WIDTH - LEFT - 10) / max(len(counts), 1)
    body = _grid(top)
    for i, count in enumerate(counts):
        x, y = LEFT + i * each, _y(count, top)
        body += Markup(
            '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
        ).format(
            x + 1,
            y,
            max(each - 2, 1),
            HEIGHT - BOTTOM - y,
            f"{_number(edges[i])} to {_number(edges[i + 1])} {unit}: {count:,}",
        )
    every = max(1, math.ceil(len(edges) / 10))
    for i in range(0, len(edges), every):
        body += Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(
            LEFT + i * each, HEIGHT - 8, _number(edges[i])
        )
    return _svg(body, HEIGHT)


def scatter(dots: Sequence[Dot]) -> Markup:
    """Draw points in the plane; the pointer shows a point's tooltip."""
    height = 420
    xs, ys = [dot.x for dot in dots], [dot.y for dot in dots]
    wide, high = (max(xs) - min(xs)) or 1.0, (max(ys) - min(ys)) or 1.0
    body = Markup()
    for dot in dots:
        body += Markup(
            '<circle class="dot k{}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>'
        ).format(
            min(dot.group, COLORS),
            10 + (dot.x - min(xs)) / wide * (WIDTH - 20),
            10 + (dot.y - min(ys)) / high * (height - 20),
            dot.text,
        )
    return _svg(body, height)


def legend(names: Sequence[str]) -> Markup:
    """Draw a legend of the colours."""
    items = [
        Markup('<span class="key"><i class="k{}"></i>{}</span>').format(min(k, COLORS), name)
        for k, name in enumerate(names)
    ]
    return Markup('<p class="legend">{}</p>').format(Markup("").join(items))


def _svg(body: Markup, height: int) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img">{}</svg>').format(WIDTH, height, body)


def _grid(top: float) -> Markup:
    body = Markup()
    for part in (0.0, 0.5, 1.0):
        y = _y(top * part, top)
        body += Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            LEFT, WIDTH, y, y
        )
        body += Markup('<text class="name" x="{}" y="{:.1f}">{}</text>').format(
            LEFT - 6, y + 4, _number(top * part)
        )
    return body


def _time_axis(first: float, last: float) -> Markup:
    body = Markup()
    for part in (0.0, 0.5, 1.0):
        moment = datetime.fromtimestamp(first + (last - first) * part, UTC)
        anchor = ("start", "middle", "end")[round(part * 2)]
        body += Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            LEFT + part * (WIDTH - LEFT - 10), HEIGHT - 8, anchor, f"{moment:%m-%d %H:%M:%S}"
        )
    return body


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _number(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.4g}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
