from __future__ import annotations

import pytest

from otel_tokenstream import signals
from otel_tokenstream.analysis.selection import Condition
from tests.analysis.made import stream


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model=a,outcome=failed", [("model", "a"), ("outcome", "failed")]),
        ("finish_reason=stop,stop", [(signals.FINISH_REASONS, "stop,stop")]),
        ("finish_reason=stop,length,model=a", [(signals.FINISH_REASONS, "stop,length"), ("model", "a")]),
        ("user=uid=5,ou=people,a.b=c", [(signals.USER_ID, "uid=5,ou=people"), ("a.b", "c")]),
        ("model=,outcome=failed", [("model", ""), ("outcome", "failed")]),
    ],
)
def test_a_value_may_have_commas(text: str, parts: list[tuple[str, str]]) -> None:
    """Only a known name begins another condition."""
    assert list(Condition.parse(text).parts) == parts


def test_several_finish_reasons_choose_their_streams() -> None:
    """A call for two answers has two reasons, and their text has a comma."""
    twice = {signals.FINISH_REASONS: "stop,stop"}
    once = {signals.FINISH_REASONS: "stop"}
    condition = Condition.parse("finish_reason=stop,stop")
    assert [condition.holds(stream(attributes=each)) for each in (twice, once)] == [True, False]


@pytest.mark.parametrize("text", ["model", "colour=red", "", "stop,model=a"])
def test_a_condition_begins_with_a_known_name(text: str) -> None:
    """There is no value before it that it could go on with."""
    with pytest.raises(ValueError, match=r"is no condition|is nothing streams are told apart by"):
        Condition.parse(text)
