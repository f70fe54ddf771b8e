"""The protocols of DSPy's own engine beside OpenAI's chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy
import pytest

from otel_tokenstream import stream_fields
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.programs.catalogue import QUESTION, WITH_TEXT, ask, fields

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

TEXT = Script(pieces=["[[ ## answer ## ]]\n", "It ", "is ", "blue.", "\n\n[[ ## completed", " ## ]]"], gap=0.0005)


@pytest.mark.parametrize(
    ("model", "more"),
    [("anthropic/claude", {}), ("gemini/flash", {}), ("openai/gpt", {"model_type": "responses"})],
    ids=["anthropic", "gemini", "responses"],
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_every_protocol_gives_the_result_of_the_plain_call(
    provider: ScriptedProvider, model: str, more: dict[str, Any], *, asynchronous: bool
) -> None:
    """Anthropic's, Google's and OpenAI's newer one: same prediction, usage and outputs."""
    provider.scripts[model.partition("/")[2]] = TEXT
    base = provider.base_url
    program = dspy.Predict("question -> answer")

    async def run() -> Any:
        lm = dspy.LM(model, api_base=base, api_key="none", cache=False, num_retries=0, engine="lm15", **more)
        with dspy.context(lm=lm, track_usage=True, adapter=dspy.ChatAdapter()):
            prediction = await ask(program, {"question": QUESTION}, asynchronous=asynchronous)
        entry = lm.history[-1]
        return prediction.toDict(), prediction.get_lm_usage(), entry["outputs"], entry["usage"], entry["cost"]

    bare = await run()
    with capture(**WITH_TEXT) as captured, stream_fields(["answer"]):
        assert await run() == bare
    assert fields(captured) == [{"answer"}]
    assert bare[0] == {"answer": "It is blue."}
