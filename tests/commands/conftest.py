from __future__ import annotations

from tests.analysis.answering import serve
from tests.viewer.conftest import application, viewer

__all__ = ["application", "serve", "viewer"]
