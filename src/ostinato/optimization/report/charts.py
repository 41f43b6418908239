"""Charts as SVG of our own making: a few marks on two axes. Every text is escaped; colours are classes of the page."""

from collections.abc import Sequence
from html import escape

import msgspec

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 64, 16, 12, 40
_ROW = 34
_TICKS = 5


class Row(msgspec.Struct, frozen=True):
    """One line of a forest plot."""

    name: str
    value: float
    low: float
    high: float
    good: bool
    said: str


class Dot(msgspec.Struct, frozen=True):
    """One mark of a scatter plot."""

    x: float
    y: float
    name: str
    kind: str
    """A class of the page: ``base``, ``champion``, ``other``."""


class Bar(msgspec.Struct, frozen=True):
    """One step of a waterfall."""

    name: str
    value: float
    said: str


def forest(rows: Sequence[Row], unit: str = "points") -> str:
    """Values with their intervals, one below another, and the line of no difference."""
    low = min([0.0, *(one.low for one in rows)])
    high = max([0.0, *(one.high for one in rows)])
    scale = _Scale(low, high, 190, _WIDTH - 150)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    parts = [_grid(scale, height)]
    for place, one in enumerate(rows):
        y = _TOP + _ROW * place + _ROW / 2
        kind = "good" if one.good else "bad"
        parts += [
            f'<text class="label" x="182" y="{y + 4:.1f}" text-anchor="end">{escape(one.name[:26])}</text>',
            f'<line class="whisker {kind}" x1="{scale(one.low):.1f}" x2="{scale(one.high):.1f}" y1="{y}" y2="{y}"/>',
            f'<rect class="mark {kind}" x="{scale(one.value) - 5:.1f}" y="{y - 5}" width="10" height="10"/>',
            f'<text class="label" x="{_WIDTH - 142}" y="{y + 4:.1f}">{escape(one.said)}</text>',
        ]
    parts.append(f'<line class="zero" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>')
    parts.append(_axis_name(f"gain on the sealed examples, {unit}", (190 + _WIDTH - 150) / 2, height - 6))
    return _svg(height, parts, "Gain of each finalist with its interval")


def curve(lines: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], x_name: str, y_name: str) -> str:
    """Lines (name, class, points) over one axis."""
    points = [point for _, _, found in lines for point in found]
    if not points:
        return ""
    height = 260
    xs = _Scale(0, max(x for x, _ in points), _LEFT, _WIDTH - 110)
    ys = _Scale(min(y for _, y in points), max(y for _, y in points), height - _BOTTOM, _TOP)
    parts = [_grid(xs, height), _levels(ys)]
    for name, kind, found in lines:
        if not found:
            continue
        path = " ".join(f"{xs(x):.1f},{ys(y):.1f}" for x, y in found)
        parts.append(f'<polyline class="line {kind}" points="{path}"/>')
        parts += [f'<circle class="mark {kind}" cx="{xs(x):.1f}" cy="{ys(y):.1f}" r="3"/>' for x, y in found]
        x, y = found[-1]
        parts.append(f'<text class="label" x="{xs(x) + 8:.1f}" y="{ys(y) + 4:.1f}">{escape(name)}</text>')
    parts.append(_axis_name(x_name, (_LEFT + _WIDTH - 110) / 2, height - 6))
    parts.append(f'<text class="axis" x="4" y="{_TOP + 2}">{escape(y_name)}</text>')
    return _svg(height, parts, f"{y_name} over {x_name}")


def scatter(dots: Sequence[Dot], x_name: str, y_name: str) -> str:
    """Marks, and the frontier: who is not beaten in both."""
    if not dots:
        return ""
    height = 280
    xs = _Scale(0, max(one.x for one in dots), _LEFT, _WIDTH - 110)
    ys = _Scale(min(one.y for one in dots), max(one.y for one in dots), height - _BOTTOM, _TOP)
    parts = [_grid(xs, height), _levels(ys)]
    edge = frontier(dots)
    path = " ".join(f"{xs(one.x):.1f},{ys(one.y):.1f}" for one in edge)
    parts.append(f'<polyline class="line edge" points="{path}"/>')
    for one in sorted(dots, key=lambda dot: dot.kind != "other"):
        title = f"<title>{escape(one.name)}</title>"
        parts.append(
            f'<circle class="mark {escape(one.kind)}" cx="{xs(one.x):.1f}" cy="{ys(one.y):.1f}" r="5">{title}</circle>'
        )
        if one.kind != "other":
            parts.append(
                f'<text class="label" x="{xs(one.x) + 9:.1f}" y="{ys(one.y) + 4:.1f}">{escape(one.name)}</text>'
            )
    parts.append(_axis_name(x_name, (_LEFT + _WIDTH - 110) / 2, height - 6))
    parts.append(f'<text class="axis" x="4" y="{_TOP + 2}">{escape(y_name)}</text>')
    return _svg(height, parts, f"{y_name} against {x_name}")


def frontier(dots: Sequence[Dot]) -> list[Dot]:
    """From the cheapest to the best: each better than everybody who is cheaper."""
    found: list[Dot] = []
    for one in sorted(dots, key=lambda dot: (dot.x, -dot.y)):
        if not found or one.y > found[-1].y:
            found.append(one)
    return found


def waterfall(bars: Sequence[Bar], unit: str) -> str:
    """Steps that add up, and their sum."""
    total = sum(one.value for one in bars)
    if total <= 0:
        return ""
    height = _TOP + 26 * (len(bars) + 1) + _BOTTOM
    scale = _Scale(0, total, 130, _WIDTH - 150)
    parts, begun = [_grid(scale, height)], 0.0
    for place, one in enumerate([*bars, Bar("altogether", total, "")]):
        y = _TOP + 26 * place
        start = 0.0 if place == len(bars) else begun
        kind = "sum" if place == len(bars) else "step"
        width = max(1.0, scale(start + one.value) - scale(start))
        said = one.said or f"{total:,.0f} {unit}"
        parts += [
            f'<text class="label" x="122" y="{y + 16}" text-anchor="end">{escape(one.name)}</text>',
            f'<rect class="{kind}" x="{scale(start):.1f}" y="{y + 3}" width="{width:.1f}" height="18"/>',
            f'<text class="label" x="{scale(start) + width + 6:.1f}" y="{y + 16}">{escape(said)}</text>',
        ]
        begun += one.value
    parts.append(_axis_name(unit, (130 + _WIDTH - 150) / 2, height - 6))
    return _svg(height, parts, "What each stage took")


class _Scale:
    """From values to places."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        spread = high - low
        if spread <= 0:
            low, high = low - 0.5, high + 0.5
        elif start > end:
            # A little air above and below lines.
            low, high = low - 0.05 * spread, high + 0.05 * spread
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        step = _nice((self.high - self.low) / _TICKS)
        first = -(-self.low // step) * step
        found: list[float] = []
        while first <= self.high + step * 1e-6 and len(found) <= 3 * _TICKS:
            found.append(round(first, 10))
            first += step
        return found


def _nice(step: float) -> float:
    """The next round number."""
    power = 1.0
    while step > 10 * power:
        power *= 10
    while step <= power:
        power /= 10
    return next((factor * power for factor in (1, 2, 5, 10) if step <= factor * power), 10 * power)


def _grid(scale: _Scale, height: float) -> str:
    foot = height - _BOTTOM
    lines = [
        f'<line class="grid" x1="{scale(one):.1f}" x2="{scale(one):.1f}" y1="{_TOP}" y2="{foot}"/>'
        f'<text class="tick" x="{scale(one):.1f}" y="{foot + 14}" text-anchor="middle">{_number(one)}</text>'
        for one in scale.ticks()
    ]
    return "".join(lines)


def _levels(scale: _Scale) -> str:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 110}" y1="{scale(one):.1f}" y2="{scale(one):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{scale(one) + 4:.1f}" text-anchor="end">{_number(one)}</text>'
        for one in scale.ticks()
    ]
    return "".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"


def _axis_name(name: str, x: float, y: float) -> str:
    return f'<text class="axis" x="{x:.1f}" y="{y}" text-anchor="middle">{escape(name)}</text>'


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
