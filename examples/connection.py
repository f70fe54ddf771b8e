"""Whom the examples ask, by the variables that ``run.py`` sets: arguments for litellm and for ``dspy.LM``."""

from __future__ import annotations

import os

import litellm

litellm.suppress_debug_info = True

MODEL = os.environ.get("DEMO_MODEL", "openai/human")
MODELS = os.environ.get("DEMO_MODELS", MODEL).split(",")
CONNECTION = {
    name: os.environ[variable]
    for name, variable in (("api_base", "DEMO_BASE_URL"), ("api_key", "DEMO_API_KEY"))
    if variable in os.environ
}
# Without it many providers do not report how many tokens a stream had.
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
