from __future__ import annotations

from tests.viewer.conftest import application, viewer

__all__ = ["application", "viewer"]
