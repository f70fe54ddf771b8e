from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, drained, only

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

LETTERS = Script(pieces=list("abc"), gap=0.002)
# As the proxy hands it on, with what must never leave beside it.
METADATA = {
    "user_api_key": "sk-secret",
    "user_api_key_alias": "billing-service",
    "user_api_key_team_id": "team-1",
    "user_api_key_team_alias": "billing",
    "user_api_key_end_user_id": "customer-7",
}


@pytest.mark.parametrize("name", ["metadata", "litellm_metadata"])
async def test_the_allowed_proxy_attributes_are_on_the_span(provider: ScriptedProvider, name: str) -> None:
    """Team and key by their names, the end user by its own; of the rest of the metadata nothing."""
    with capture(proxy_attributes="team,end_user") as captured:
        where = at(provider, {"letters": LETTERS})
        call: dict[str, Any] = {"model": "deepseek/letters", "messages": QUESTION, name: dict(METADATA)}
        await drained(litellm.acompletion, **call, **where)

    found = {key: value for key, value in only(captured).attributes.items() if value in METADATA.values()}
    assert found == {signals.TEAM: "billing", signals.END_USER: "customer-7"}


async def test_nothing_is_on_the_span_unless_it_is_allowed(provider: ScriptedProvider, tokenstream: Any) -> None:
    """Who called is nobody's business by default."""
    call: dict[str, Any] = {"model": "deepseek/letters", "messages": QUESTION, "metadata": dict(METADATA)}
    await drained(litellm.acompletion, **call, **at(provider, {"letters": LETTERS}))

    assert not set(only(tokenstream).attributes.values()) & set(METADATA.values())
