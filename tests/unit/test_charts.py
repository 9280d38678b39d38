"""Charts: true to their figures, of the page's colours, safe against text from outside, and always the same bytes."""

import re
import xml.etree.ElementTree as ET

import pytest

from assets.publish import charts, page

BROAD, NARROW = charts.sizes(400, 280)
TEXTS = {
    "title": "Curve",
    "description": "Rises and falls.",
    "peak": "Peak 150 % after 2",
    "end": "100 %",
    "axis": "Customers",
}
HOSTILE = '</svg><script>alert("1")</script> $\\frac{1$ id="x" &amp;'


def whale(size=BROAD, **changed):
    lines = [([0, 1, 2, 3], [0.0, 0.9, 1.5, 1.0]), ([0, 4], [0.0, 1.0])]
    return charts.curve(lines, 2, TEXTS | changed, size, name="whale", in_percent=True)


def waterfall(size=BROAD, label="List revenue"):
    steps = [(label, 1000.0, True), ("Discounts", -300.0, False), ("Cost", -900.0, False), ("Profit", -200.0, True)]
    return charts.waterfall(steps, size, name="waterfall", title="Waterfall", description="Down.")


def every_picture(text):
    """One of each kind with `text` wherever a text goes."""
    texts = {name: text for name in (*TEXTS, "x", "top_left", "top_right", "bottom_left", "bottom_right")}
    for size in (BROAD, NARROW):
        yield charts.curve([([0, 1], [0.0, 1.0])], 1, texts, size, name="a", in_percent=False)
        yield charts.waterfall([(text, 1.0, True)], size, name="b", title=text, description=text)
        yield charts.against_plan([(text, 1.0, None)], size, name="c", title=text, description=text)
        yield charts.months([text], [1.0], [-1.0], texts, size, name="d")
        yield charts.scatter([(50.0, 1.0), (10.0, -2.0)], texts, size, name="e", split=60)
    yield charts.spark([1.0, 2.0], name="f", title=text)


def numbers_of(path):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]


def test_a_picture_is_named_described_and_sized():
    root = ET.fromstring(whale())
    assert root.attrib["viewBox"] == "0 0 1000 400"
    assert root.attrib["role"] == "img"
    assert [child.tag for child in root[:2]] == ["title", "desc"]
    assert [child.text for child in root[:2]] == ["Curve", "Rises and falls."]
    assert root.attrib["aria-labelledby"].split() == [child.attrib["id"] for child in root[:2]]
    assert ET.fromstring(whale(NARROW)).attrib["viewBox"] == "0 0 360 280"


def test_colours_are_the_pages_and_nothing_is_referred_to():
    for picture in every_picture("text"):
        assert set(re.findall(r"(?:fill|stroke):([^;\"]+)", picture)) <= {
            "none",
            *(f"var(--{role})" for role in charts.ROLES),
        }
        assert "href" not in picture
        assert "url(" not in picture
        assert picture.count("id=") <= 2


@pytest.mark.parametrize("text", [HOSTILE, "武汉万里百货有限公司" * 9, "", "a" * 400])
def test_any_text_stays_text(text):
    for picture in every_picture(text):
        root = ET.fromstring(picture)  # well-formed, so nothing got out
        assert {element.tag for element in root.iter()} <= {"svg", "g", "path", "text", "title", "desc"}
        assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
        assert (root[0].text or "") == text


def test_equal_figures_are_equal_bytes():
    assert whale() == whale()
    assert list(every_picture("x")) == list(every_picture("x"))
    assert whale() != whale(peak="another")


def test_the_peak_is_the_highest_point_of_the_curve():
    texts = {element.text: element for element in ET.fromstring(whale()).iter("text")}
    assert {"0\u202f%", "50\u202f%", "100\u202f%", "150\u202f%", "Customers"} <= set(texts)
    peak, end = texts["Peak 150 % after 2"], texts["100 %"]
    assert float(peak.attrib["y"]) < float(end.attrib["y"])
    assert float(peak.attrib["x"]) < float(end.attrib["x"])
    # On a phone the label, wider than the place left of the peak, is kept inside the picture.
    narrow = {element.text: element for element in ET.fromstring(whale(NARROW, peak="x" * 40)).iter("text")}
    assert 0 < float(narrow["x" * 40].attrib["x"]) < 360


def test_a_waterfall_hands_its_level_on():
    bars = []
    for element in ET.fromstring(waterfall()).iter("path"):
        if "fill:var" in element.attrib["style"]:
            bars.append((element.attrib["style"], numbers_of(element.attrib["d"])[0::2]))
    spans = [(style, min(xs), max(xs)) for style, xs in bars]
    assert len(spans) == 4
    (first, zero, top), (_, kept, handed), (_, lowest, kept_again), (last, loss, zero_again) = spans
    assert handed == pytest.approx(top, abs=0.2)  # discounts begin where list revenue ends
    assert kept_again == pytest.approx(kept, abs=0.2)
    assert (top - kept) / (top - zero) == pytest.approx(0.3, abs=0.01)
    assert lowest == pytest.approx(loss, abs=0.2)
    assert zero_again == pytest.approx(zero, abs=0.2)
    assert loss < zero
    assert "--deep" in first
    assert "--loss" in last


def test_amounts_and_labels_are_written_and_long_ones_cut_to_their_place():
    said = [element.text for element in ET.fromstring(waterfall(label="An endless name " * 10)).iter("text")]
    assert "−300" in said
    assert "1,000" in said
    assert any(text.startswith("An endless name") and text.endswith("…") and len(text) < 45 for text in said)
    assert charts.fitted("武汉万里百货有限公司", 60, 10) == "武汉万里百…"
    assert charts.fitted("Wuhan", 60, 10) == "Wuhan"


def test_all_dots_of_a_colour_are_one_element():
    points = [(float(place % 100), place - 300.0) for place in range(600)]
    texts = {
        name: name for name in ("title", "description", "x", "top_left", "top_right", "bottom_left", "bottom_right")
    }
    picture = charts.scatter(points, texts, BROAD, name="matrix", split=60)
    dots = [
        element.attrib["d"].count("M")
        for element in ET.fromstring(picture).iter("path")
        if element.attrib["d"].count("M") > 1
    ]
    assert dots == [300, 300]
    assert picture.count(" L ") >= 600  # each dot is a line of no length: without the line nothing is drawn
    assert len(picture) < 30_000


def test_months_show_as_many_labels_as_fit_and_always_the_last():
    labels = [f"2025-{month:02}" for month in range(1, 13)]
    for size, most in ((BROAD, 12), (NARROW, 8)):
        picture = charts.months(labels, [10.0] * 12, [1.0] * 12, TEXTS, size, name="months")
        shown = [element.text for element in ET.fromstring(picture).iter("text") if element.text in labels]
        assert 2 < len(shown) <= most
        assert shown[-1] == labels[-1]


@pytest.mark.parametrize(
    ("lowest", "highest", "ticks"),
    [
        (0, 1.17, [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]),
        (-30, 95, [-50, -25, 0, 25, 50, 75, 100]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-9_000_000, 0, [-10_000_000, -8_000_000, -6_000_000, -4_000_000, -2_000_000, 0]),
    ],
)
def test_ticks_are_round_and_include_zero(lowest, highest, ticks):
    assert charts.round_ticks(lowest, highest) == pytest.approx(ticks)


def test_months_without_any_amount_and_single_points_can_be_drawn():
    charts.months(["2026-01"], [0.0], [0.0], TEXTS, BROAD, name="months")
    charts.spark([0.0, 0.0], name="spark", title="nothing")
    corners = dict.fromkeys(("x", "top_left", "top_right", "bottom_left", "bottom_right"), "")
    charts.scatter([(0.0, 0.0)], TEXTS | corners, BROAD, name="matrix", split=0)
    charts.curve([([0, 0], [0.0, 0.0])], 0, TEXTS, BROAD, name="whale", in_percent=False)


CSS = (page.HERE / "report.css").read_text(encoding="utf-8")


def palettes():
    """Name -> role -> colour, of the stylesheet: light, dark and print."""
    blocks = re.findall(r":root \{([^}]+)\}", CSS)
    said = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,8})\b", block)) for block in blocks]
    return dict(zip(("light", "dark", "print"), said, strict=True))


def luminance(colour):
    digits = colour[1:] if len(colour) > 4 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """As WCAG has it: 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["light", "dark", "print"])
def test_text_and_shapes_can_be_told_from_their_ground(name):
    """What axe cannot judge: it does not look into pictures."""
    palette = palettes()[name]
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert set(charts.ROLES) <= set(palette)
    for ground in ("card", "paper"):
        for role in ("ink", "soft", "deep", "loss", "good", "warn"):
            assert contrast(palette[role], palette[ground]) >= 4.5, (role, ground)
    for role in ("quiet", *(f"bar-{place}" for place in range(1, 6))):
        assert contrast(palette[role], palette["card"]) >= 3, role
