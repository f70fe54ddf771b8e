from __future__ import annotations

import os

# Before DSPy is imported, which keeps answers on disk.
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)
