"""Charts of the pages people read: drawn by matplotlib, placed in the page as inline SVG.

Belongs here: how a picture looks. Not here: any figure or word; callers give both, texts as they are (escaped here).

What comes out takes its colours from the page's CSS variables, so that one picture serves light, dark and print; its text
is text, in the page's font; it has a title and a description for those who do not see it; it has no ids but those two and
refers to nothing. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets.publish.numbers import compact, money, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SVG = "http://www.w3.org/2000/svg"
ROLES = ("ink", "soft", "line", "quiet", "deep", "loss", "card", "bar-2", "bar-3", "warn")
COLOUR = {role: f"#0a0b{place:02x}" for place, role in enumerate(ROLES, start=1)}
"""Role of the page's palette -> the colour matplotlib is told, which stands for it until the picture is done."""
VARIABLE = {colour: f"var(--{role})" for role, colour in COLOUR.items()}
WIDE_CHARACTER = 1.0
NARROW_CHARACTER = 0.58
"""Widths of a character in font sizes: the reader's font is not known here, so places for text are estimated."""


@dataclass(frozen=True)
class Size:
    """A picture's place in the page: one for a desk, one for a phone."""

    name: str
    width: int
    height: int
    font: int


def sizes(height: int, narrow_height: int) -> tuple[Size, Size]:
    """The two sizes every large picture is drawn in, in CSS pixels; the stylesheet shows one of them."""
    return Size("broad", 1000, height, 15), Size("narrow", 360, narrow_height, 12)


def text_width(text: str, font: float) -> float:
    """Estimated width of a text in pixels; a Chinese character takes about twice that of a Latin one."""
    import unicodedata

    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return font * (WIDE_CHARACTER * wide + NARROW_CHARACTER * (len(text) - wide))


def fitted(text: str, width: float, font: float) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if text_width(text, font) <= width:
        return text
    kept = text
    while kept and text_width(kept + "…", font) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def both(draw: Callable[[Size], str], of: tuple[Size, Size]) -> str:
    """One picture in both sizes."""
    return "\n".join(draw(size) for size in of)


# Pictures


def curve(
    lines: Sequence[tuple[Sequence[float], Sequence[float]]],
    peak: int,
    texts: dict[str, str],
    size: Size,
    *,
    name: str,
    in_percent: bool,
) -> str:
    """A whale curve: the first line is filled up to `peak` (a position in it) and after it, others are dotted.

    A line is x and y, both from the origin. `texts`: title, description, peak, end, axis.
    """
    font = size.font
    values = [value for _, heights in lines for value in heights]
    ticks = round_ticks(min(0.0, *values), max(0.0, *values))
    tick_texts = [percent(tick) if in_percent else compact(tick) for tick in ticks]
    left = 12 + max(text_width(text, font) for text in tick_texts)
    right = 20 + text_width(texts["end"], font)
    figure, axes = _axes(size, left=left, right=right, top=2.4 * font, bottom=2.6 * font)
    ranks, heights = lines[0]
    last = max(ranks[-1], 1)
    axes.set_xlim(0, last)
    axes.set_ylim(ticks[0], ticks[-1])
    for tick, text in zip(ticks, tick_texts, strict=True):
        is_level = tick == 0 or (in_percent and math.isclose(tick, 1))
        _line(axes, [0, last], [tick, tick], "quiet" if is_level else "line", 1)
        _text(axes, 0, tick, text, font, shift=(-8, 0), ha="right", va="center")
    for part, colour in ((slice(None, peak + 1), "deep"), (slice(peak, None), "loss")):
        x, y = list(ranks[part]), list(heights[part])
        if len(x) > 1:
            axes.fill([x[0], *x, x[-1]], [0, *y, 0], color=COLOUR[colour], alpha=0.14, linewidth=0, clip_on=False)
    for other_ranks, other_heights in lines[1:]:
        scaled = [rank * last / max(other_ranks[-1], 1) for rank in other_ranks]
        _line(axes, scaled, other_heights, "quiet", 1.5, dashes=(1, 4))
    for part, colour in ((slice(None, peak + 1), "deep"), (slice(peak, None), "loss")):
        if len(ranks[part]) > 1:
            _line(axes, ranks[part], heights[part], colour, 3)
    _dot(axes, ranks[-1], heights[-1], "loss" if peak < len(ranks) - 1 else "deep")
    _dot(axes, ranks[peak], heights[peak], "deep")
    # The label of the peak stays inside the picture.
    half = min(text_width(texts["peak"], font) / 2, (size.width - 8) / 2)
    at = left + (size.width - left - right) * ranks[peak] / last
    shift = min(max(at, half + 4), size.width - half - 4) - at
    _text(axes, ranks[peak], heights[peak], texts["peak"], font, shift=(shift, font), ha="center", strong=True)
    _text(axes, last, heights[-1], texts["end"], font, shift=(12, 0), va="center", strong=True)
    figure.text(
        (left + size.width - right) / 2 / size.width,
        0.6 * font / size.height,
        texts["axis"],
        fontsize=font,
        color=COLOUR["soft"],
        ha="center",
        parse_math=False,
    )
    return svg(figure, size, name, texts["title"], texts["description"])


def waterfall(steps: Sequence[tuple[str, float, bool]], size: Size, *, name: str, title: str, description: str) -> str:
    """Horizontal bars from the first amount to the last; `steps` are (label, signed amount, is a total)."""
    level, spans = 0.0, []
    for _, amount, is_total in steps:
        start, end = (0.0, amount) if is_total else (level, level + amount)
        spans.append((start, end))
        level = end
    lowest, highest = min(min(span) for span in spans), max(max(span) for span in spans)
    return _bars(
        [label for label, _, _ in steps],
        [(min(span), max(span)) for span in spans],
        [
            ("loss" if amount < 0 else "deep") if is_total else ("bar-2" if amount <= 0 else "bar-3")
            for _, amount, is_total in steps
        ],
        [money(amount) for _, amount, _ in steps],
        [is_total for _, _, is_total in steps],
        size,
        name=name,
        title=title,
        description=description,
        limits=(min(0.0, lowest), max(0.0, highest)),
        joined=[end for _, end in spans],
    )


def against_plan(
    rows: Sequence[tuple[str, float, float | None]], size: Size, *, name: str, title: str, description: str
) -> str:
    """Horizontal bars of actual amounts, each with a mark where the plan is; `rows` are (label, actual, plan or None)."""
    values = [value for _, actual, plan in rows for value in (actual, plan or 0.0)]
    return _bars(
        [label for label, _, _ in rows],
        [(min(0.0, actual), max(0.0, actual)) for _, actual, _ in rows],
        ["bar-2"] * len(rows),
        [money(actual) for _, actual, _ in rows],
        [False] * len(rows),
        size,
        name=name,
        title=title,
        description=description,
        limits=(min(0.0, *values), max(0.0, *values)),
        marks=[plan for _, _, plan in rows],
    )


def spark(values: Sequence[float], *, name: str, title: str) -> str:
    """A small line without axes, its last point marked."""
    size = Size("spark", 160, 36, 10)
    figure, axes = _axes(size, left=4, right=6, top=5, bottom=5)
    lowest, highest = min(values), max(values)
    axes.set_xlim(0, max(len(values) - 1, 1))
    axes.set_ylim(lowest, highest if highest > lowest else lowest + 1)
    if lowest < 0 < highest:
        _line(axes, [0, len(values) - 1], [0, 0], "line", 1)
    _line(axes, range(len(values)), values, "deep", 2)
    _dot(axes, len(values) - 1, values[-1], "deep", radius=3)
    return svg(figure, size, name, title)


def months(
    labels: Sequence[str],
    bars: Sequence[float],
    line: Sequence[float],
    texts: dict[str, str],
    size: Size,
    *,
    name: str,
) -> str:
    """Two amounts a month: `bars` in the background, `line` upon them, below zero in the colour of a loss.

    `labels` are of the months, of which as many are shown as fit. `texts`: title, description.
    """
    font = size.font
    ticks = round_ticks(min(0.0, *bars, *line), max(0.0, *bars, *line))
    tick_texts = [compact(tick) for tick in ticks]
    left = 12 + max(text_width(text, font) for text in tick_texts)
    right = 8 + text_width(labels[-1], font) / 2  # the last label stands below the last bar
    figure, axes = _axes(size, left=left, right=right, top=0.8 * font, bottom=2.2 * font)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(ticks[0], ticks[-1])
    for tick, text in zip(ticks, tick_texts, strict=True):
        _line(axes, [-0.5, len(labels) - 0.5], [tick, tick], "quiet" if tick == 0 else "line", 1)
        _text(axes, -0.5, tick, text, font, shift=(-8, 0), ha="right", va="center")
    for place, value in enumerate(bars):
        _block(axes, place - 0.36, place + 0.36, 0, value, "bar-2")
    _line(axes, range(len(line)), line, "ink", 2)
    for place, value in enumerate(line):
        _dot(axes, place, value, "loss" if value < 0 else "deep", radius=3.5)
    room = (size.width - left - right) / max(len(labels), 1)
    every = max(1, math.ceil((text_width(labels[0], font) + 10) / room))
    for place in range((len(labels) - 1) % every, len(labels), every):
        _text(axes, place, ticks[0], labels[place], font, shift=(0, -1.3 * font), ha="center")
    return svg(figure, size, name, texts["title"], texts["description"])


def scatter(
    points: Sequence[tuple[float, float]], texts: dict[str, str], size: Size, *, name: str, split: float
) -> str:
    """Dots over 0 to 100 and an amount, on a scale that is logarithmic away from zero; `split` parts the x axis.

    `texts`: title, description, x, y, and the four corners: top_left, top_right, bottom_left, bottom_right.
    """
    font = size.font
    unit = _middle([abs(y) for _, y in points]) or 1.0

    def height(amount: float) -> float:
        return math.asinh(amount / unit)

    heights = [height(y) for _, y in points]
    top, bottom = max(0.5, *heights) * 1.12, min(-0.5, *heights) * 1.12
    ends = [_round_down(math.sinh(edge / 1.12) * unit) for edge in (top, bottom)]
    ticks = [(height(value), compact(value)) for value in (ends[0], 0.0, ends[1])]
    left = 12 + max(text_width(text, font) for _, text in ticks)
    figure, axes = _axes(size, left=left, right=14, top=2.2 * font, bottom=3.4 * font)
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom, top)
    for tick, text in ticks:
        _line(axes, [0, 100], [tick, tick], "quiet" if tick == 0 else "line", 1)
        _text(axes, 0, tick, text, font, shift=(-8, 0), ha="right", va="center")
    for tick in (0, 25, 50, 75, 100):
        _text(axes, tick, bottom, str(tick), font, shift=(0, -1.3 * font), ha="center")
    _line(axes, [split, split], [bottom, top], "quiet", 1, dashes=(4, 4))
    for earns, colour in ((True, "deep"), (False, "loss")):
        chosen = [(x, y) for x, y in points if (y >= 0) is earns]
        _dots(axes, [x for x, _ in chosen], [height(y) for _, y in chosen], colour, 2 * font / 5)
    room = {
        "left": (size.width - left - 14) * split / 100 - 12,
        "right": (size.width - left - 14) * (1 - split / 100) - 12,
    }
    for corner, place, y, shift in (
        ("top_left", "left", top, (6, 6)),
        ("top_right", "right", top, (-6, 6)),
        ("bottom_left", "left", bottom, (6, 6)),
        ("bottom_right", "right", bottom, (-6, 6)),
    ):
        text = fitted(texts[corner], room[place], font)
        x = 0 if place == "left" else 100
        _text(axes, x, y, text, font, shift=shift, ha=place, strong=True)
    _text(axes, 50, bottom, texts["x"], font, shift=(0, -2.8 * font), ha="center")
    return svg(figure, size, name, texts["title"], texts["description"])


# Parts of pictures


def _bars(
    labels: Sequence[str],
    spans: Sequence[tuple[float, float]],
    colours: Sequence[str],
    values: Sequence[str],
    strong: Sequence[bool],
    size: Size,
    *,
    name: str,
    title: str,
    description: str,
    limits: tuple[float, float],
    marks: Sequence[float | None] = (),
    joined: Sequence[float] = (),
) -> str:
    """Horizontal bars, the first on top; a row is as high as two lines of text where text stands above its bar."""
    font, is_narrow = size.font, size.name == "narrow"
    row = 2.9 * font if is_narrow else 1.9 * font
    size = Size(size.name, size.width, math.ceil(row * len(labels) + font), font)
    widest = 0.0 if is_narrow else min(max(text_width(label, font) for label in labels) + 14, 0.34 * size.width)
    right = 14 + max(text_width(value, font) for value in values)
    figure, axes = _axes(size, left=widest + 4, right=right, top=0.3 * font, bottom=0.7 * font)
    lowest, highest = limits
    axes.set_xlim(lowest, highest if highest > lowest else lowest + 1)
    axes.set_ylim(len(labels), 0)
    _line(axes, [0, 0], [0, len(labels)], "quiet", 1)
    for place, (label, span, colour, value) in enumerate(zip(labels, spans, colours, values, strict=True)):
        middle = place + (0.74 if is_narrow else 0.5)
        half = 0.17 if is_narrow else 0.32
        _block(axes, *span, middle - half, middle + half, colour)
        if joined and place + 1 < len(labels):
            _line(axes, [joined[place]] * 2, [middle + half, middle + 1 - half], "quiet", 1)
        if marks and (plan := marks[place]) is not None:
            _line(axes, [plan, plan], [middle - half - 0.1, middle + half + 0.1], "ink", 3)
        if is_narrow:
            room = size.width - 8
            _text(
                axes,
                lowest,
                place + 0.3,
                fitted(label, room, font),
                font,
                shift=(0, 0),
                va="center",
                strong=strong[place],
            )
        else:
            said = fitted(label, widest - 10, font)
            _text(axes, lowest, middle, said, font, shift=(-10, 0), ha="right", va="center", strong=strong[place])
        edge = highest if highest > lowest else lowest + 1
        _text(axes, edge, middle, value, font, shift=(right - 4, 0), ha="right", va="center", strong=strong[place])
    return svg(figure, size, name, title, description)


def _axes(size: Size, *, left: float, right: float, top: float, bottom: float) -> tuple[Figure, Axes]:
    """An empty picture whose points are CSS pixels, and its area within the margins."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size.width / 72, size.height / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes(
        (
            left / size.width,
            bottom / size.height,
            max(size.width - left - right, 1) / size.width,
            max(size.height - top - bottom, 1) / size.height,
        )
    )
    axes.set_axis_off()
    return figure, axes


def _line(axes: Axes, x: Any, y: Any, colour: str, width: float, *, dashes: tuple[float, float] | None = None) -> None:
    style: Any = (0, dashes) if dashes else "-"
    axes.plot(
        list(x),
        list(y),
        color=COLOUR[colour],
        linewidth=width,
        linestyle=style,
        solid_capstyle="round",
        solid_joinstyle="round",
        dash_capstyle="round",
        clip_on=False,
    )


def _block(axes: Axes, left: float, right: float, low: float, high: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, low), right - left, high - low, color=COLOUR[colour], linewidth=0, clip_on=False))


def _dot(axes: Axes, x: float, y: float, colour: str, *, radius: float = 6) -> None:
    """A ring in the colour: two dots upon each other, as a path of no length with round ends is a dot."""
    _dots(axes, [x], [y], colour, 2 * radius)
    _dots(axes, [x], [y], "card", radius)


def _dots(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, width: float) -> None:
    """All dots as one path: a thousand customers are no thousand elements."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not x:
        return
    vertices = [point for pair in zip(x, y, strict=True) for point in (pair, pair)]
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * len(x))
    path.should_simplify = False  # lines of no length would go
    axes.add_patch(
        PathPatch(path, facecolor="none", edgecolor=COLOUR[colour], linewidth=width, capstyle="round", clip_on=False)
    )


def _text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    font: float,
    *,
    shift: tuple[float, float],
    ha: str = "left",
    va: str = "baseline",
    strong: bool = False,
) -> None:
    """Text at a point, moved by pixels to the right and up."""
    axes.annotate(
        text,
        (x, y),
        xytext=shift,
        textcoords="offset pixels",
        fontsize=font,
        color=COLOUR["ink" if strong else "soft"],
        fontweight="bold" if strong else "normal",
        ha=ha,
        va=va,
        annotation_clip=False,
        parse_math=False,
    )


def round_ticks(lowest: float, highest: float) -> list[float]:
    """Four to eight round values from at or below `lowest` to at or above `highest`, 0 among them."""
    from matplotlib.ticker import MaxNLocator

    if highest <= lowest:
        highest = lowest + 1
    found = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(lowest, highest)
    return [float(tick) + 0.0 for tick in found]


def _round_down(amount: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten towards zero."""
    if not amount:
        return 0.0
    power = 10 ** math.floor(math.log10(abs(amount)))
    digit = next(digit for digit in (5, 2, 1) if digit * power <= abs(amount) * (1 + 1e-9))
    return math.copysign(digit * power, amount)


def _middle(values: Sequence[float]) -> float:
    found = sorted(value for value in values if value)
    return found[len(found) // 2] if found else 0.0


# SVG


def svg(figure: Figure, size: Size, name: str, title: str, description: str | None = None) -> str:
    """The finished picture as an element of the page; `name` makes its two ids its own."""
    import matplotlib

    written = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Type": None, "Format": None}
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "whalecurve"}):
        # Text is drawn by the reader's fonts; that ours lacks a Chinese character only makes a width unknown here.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(written, format="svg", metadata=nothing, transparent=True)
    root = ET.fromstring(written.getvalue())
    _tidy(root)
    own = f"{name}-{size.name}"
    about = [("title", f"{own}-title", title)]
    if description:
        about.append(("desc", f"{own}-description", description))
    for place, (tag, identifier, text) in enumerate(about):
        element = ET.Element(f"{{{SVG}}}{tag}", {"id": identifier})
        element.text = text
        root.insert(place, element)
    root.attrib = {
        "class": f"chart {size.name}",
        "viewBox": f"0 0 {size.width} {size.height}",
        "role": "img",
        "aria-labelledby": " ".join(identifier for _, identifier, _ in about),
    }
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
    return ET.tostring(root, encoding="unicode")


def _tidy(root: ET.Element) -> None:
    """Leave out what a page does not need, and let colours be the page's."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}defs", f"{{{SVG}}}metadata"):
                parent.remove(child)
    for element in root.iter():
        element.attrib.pop("id", None)
        if element.text and not element.text.strip():
            element.text = None
        element.tail = None
        if "d" in element.attrib:
            path = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}", element.attrib["d"])
            element.attrib["d"] = " ".join(path.split())
        if "transform" in element.attrib and element.tag == f"{{{SVG}}}text":
            del element.attrib["transform"]  # a rotation by nothing
        for side in ("x", "y"):
            if side in element.attrib:
                element.attrib[side] = f"{float(element.attrib[side]):.1f}"
        if "style" in element.attrib:
            stated = (item.split(":", 1) for item in element.attrib["style"].split(";") if ":" in item)
            style = {key.strip(): value.strip() for key, value in stated}
            style.pop("font-family", None)
            kept = {key: VARIABLE.get(value, value) for key, value in style.items()}
            element.attrib["style"] = ";".join(f"{key}:{value}" for key, value in kept.items())
