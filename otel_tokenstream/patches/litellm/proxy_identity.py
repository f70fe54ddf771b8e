"""The caller of litellm's proxy server, from each call's metadata, as far as the setting allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.settings import Settings

# Name in the setting: attribute, and the proxy's keys for it, the most telling first.
_KNOWN = {
    "team": (signals.TEAM, ("user_api_key_team_alias", "user_api_key_team_id")),
    "key_alias": (signals.KEY_ALIAS, ("user_api_key_alias",)),
    "end_user": (signals.END_USER, ("user_api_key_end_user_id",)),
}


def caller(settings: Settings, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Span attributes; none where the call does not come from a proxy."""
    found = {}
    for allowed in settings.proxy_attributes:
        attribute, keys = _KNOWN[allowed]
        for key in keys:
            value = _metadata(arguments, key)
            if isinstance(value, str) and value and attribute not in found:
                found[attribute] = value
    return found


def of_key(key: object) -> dict[str, dict[str, Any]]:
    """Return what is known of a key, as the proxy puts it into the metadata of calls."""
    known = {
        "user_api_key_alias": "key_alias",
        "user_api_key_team_alias": "team_alias",
        "user_api_key_team_id": "team_id",
        "user_api_key_end_user_id": "end_user_id",
    }
    return {"metadata": {name: getattr(key, attribute, None) for name, attribute in known.items()}}


def _metadata(arguments: Mapping[str, Any], key: str) -> Any:
    # Which of the two it is depends on the route.
    for name in ("metadata", "litellm_metadata"):
        holder = arguments.get(name)
        if isinstance(holder, dict) and holder.get(key):
            return holder[key]
    return None
