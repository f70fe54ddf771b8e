from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.live.brokers import RabbitMQ, Redis, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before litellm and DSPy are imported: the first asks a server for its prices, the second keeps answers on disk.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture(params=["redis", "rabbitmq"])
def route(request: pytest.FixtureRequest) -> Route:
    """A way through each of the brokers in turn; a test that ends its broker starts it again."""
    return Route(request.getfixturevalue(f"{request.param}_server"))
