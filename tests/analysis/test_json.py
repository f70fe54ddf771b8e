from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.analysis.measures import MEASURES
from otel_tokenstream.analysis.report import VERSION, Question, answer, side_of

if TYPE_CHECKING:
    from tests.analysis.conftest import Recorded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "report.md"

INTERVAL = {"low": float, "high": float}
PERCENTILES = {
    "count": int,
    **dict.fromkeys(("total", "mean", "min", "p50", "max"), float),
    "p95": (float, None),
    "p99": (float, None),
}
GROUP = {
    "key": "object",
    "streams": int,
    "start_ns": int,
    "end_ns": int,
    "outcomes": "counts",
    "errors": "counts",
    "failed_share": float,
    "stalls": int,
    "stalled_streams": int,
    "stall_known": int,
    "gaps": (
        {"count": int, "known_share": float, "p50": float, "p95": float, "p99": (float, None), "max": float},
        None,
    ),
    "measures": dict.fromkeys(MEASURES, (PERCENTILES, None)),
    "curves": "curves",
}
DIFFERENCE = {
    **dict.fromkeys(("measure", "title", "statistic", "unit", "better"), str),
    **dict.fromkeys(("a", "b", "difference"), float),
    **dict.fromkeys(("count_a", "count_b", "needed"), int),
    "difference_interval": (INTERVAL, None),
    "ratio": (float, None),
    "ratio_interval": (INTERVAL, None),
}
REPORT = {
    "version": int,
    **dict.fromkeys(("made", "start", "end"), str),
    **{key: [str] for key in ("sources", "where", "by", "notes")},
    "total": GROUP,
    "groups": [GROUP],
    "in_time": [
        {
            **dict.fromkeys(("service", "model"), (str, None)),
            **dict.fromkeys(("within_ms", "share", "share_in_time"), float),
            **dict.fromkeys(("judged", "late"), int),
            "met": bool,
        }
    ],
    "over_time": {"step": str, "step_s": (int, None), "buckets": [GROUP]},
    "comparison": (
        {
            "names": [str],
            "a": GROUP,
            "b": GROUP,
            "level": float,
            "level_of_verdicts": float,
            "differences": [DIFFERENCE],
        },
        None,
    ),
}


def check(value: Any, shape: Any, where: str = "report") -> None:
    """Fail where ``value`` has another type, a key too many or one too few."""
    if isinstance(shape, tuple):
        if value is not None:
            check(value, shape[0], where)
    elif isinstance(shape, dict):
        assert value.keys() == shape.keys(), where
        for name, part in shape.items():
            check(value[name], part, f"{where}.{name}")
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            check(item, shape[0], f"{where}[{index}]")
    elif shape == "object":
        assert all(isinstance(part, str) or part is None for part in value.values()), where
    elif shape == "counts":
        assert all(isinstance(part, int) and part > 0 for part in value.values()), where
    elif shape == "curves":
        assert all(list(part) == sorted(part) and len(part) <= 101 for part in value.values()), where
    else:
        allowed = (int, float) if shape is float else shape
        assert isinstance(value, allowed), where
        assert isinstance(value, bool) == (shape is bool), where


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"by": ("model", "field"), "over": "session"},
        {"by": ("service",), "compare": (side_of("model=gpt-4o"), side_of("model=gpt-4o-mini")), "over": "hour"},
        {"by": (), "compare": (side_of("outcome=failed"), side_of("outcome=completed"))},
    ],
)
def test_the_report_has_the_documented_shape(recorded: Recorded, more: dict[str, Any]) -> None:
    """Every key, its type, and whether it may be null."""
    report = json.loads(json.dumps(answer(Question(files=(recorded.lines,), **more)).as_json(), allow_nan=False))
    check(report, REPORT)
    assert report["version"] == VERSION
    assert (report["comparison"] is not None) == ("compare" in more)


def test_every_key_is_documented() -> None:
    """And nothing is documented that is not there."""
    section = PAGE.read_text(encoding="utf-8").partition("## JSON")[2]
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    keys = {*REPORT, *GROUP, *DIFFERENCE, *PERCENTILES, *INTERVAL, *MEASURES}
    keys |= {"known_share", *REPORT["in_time"][0], *REPORT["over_time"], *REPORT["comparison"][0]}
    assert documented == keys
