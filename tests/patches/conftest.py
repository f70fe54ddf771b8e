from __future__ import annotations

import os

# Before litellm and DSPy are imported: the first asks a server for its prices, the second keeps answers on disk.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)
