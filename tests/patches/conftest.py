from __future__ import annotations

import os

import pytest

# Before litellm and DSPy are imported: the first asks a server for its prices, the second keeps answers on disk.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """litellm's list of callbacks, for one test: it copies what is there to all its other lists."""
    import litellm

    for kind in ("input_callback", "success_callback", "failure_callback"):
        monkeypatch.setattr(litellm, kind, [])
        monkeypatch.setattr(litellm, f"_async_{kind}", [])
    monkeypatch.setattr(litellm, "callbacks", [])
    given: list[object] = litellm.callbacks
    return given
