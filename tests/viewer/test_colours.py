"""Words on a badge can be read: their contrast to its ground, on every ground it stands on."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

OUTCOMES = ("completed", "failed", "cancelled", "closed", "abandoned", "progress")
TINT = 0.1  # of a badge's colour in its ground


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def mixed(one: str, other: str) -> str:
    pairs = ((int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(a * TINT + b * (1 - TINT)):02x}" for a, b in pairs)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_badge_can_be_read(scheme: str, outcome: str) -> None:
    """4.5 to 1 at least, as WCAG asks for text of its size."""
    sheet = files("otel_tokenstream.viewer").joinpath("page/colours.css").read_text()
    light, dark = sheet.split("@media")
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", {"light": light, "dark": dark}[scheme]))
    for ground in ("panel", "ground", "hover"):
        lighter, darker = sorted(
            (luminance(colours[outcome]), luminance(mixed(colours[outcome], colours[ground]))), reverse=True
        )
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, ground
