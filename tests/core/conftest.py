from __future__ import annotations

import pytest

from tests.core.calls import Ends


@pytest.fixture
def ends() -> Ends:
    return Ends()
