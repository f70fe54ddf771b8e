"""Redis and RabbitMQ for the tests: real servers on loopback, in directories of their own, started and ended by pid."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika
import psutil
import redis

from otel_tokenstream.live.consumer import TokenConsumer
from otel_tokenstream.live.rabbitmq import RabbitMQSink, quiet
from otel_tokenstream.live.redis import RedisSink
from otel_tokenstream.live.wire import event_of, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

    from otel_tokenstream.live.broker_sink import BrokerSink
    from otel_tokenstream.live.wire import Sent

# Debian's wrapper on the path changes to a user of its own, who cannot write to the test's directory.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_TIMEOUT = 90.0
_CONFIG = """\
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 50MB
log.console = false
"""
_TCP = "listeners.tcp.1 = 127.0.0.1:{port}\n"
_TLS = """\
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.certfile = {files[0]}
ssl_options.keyfile = {files[1]}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Broker:
    """A server that is started, killed and started again with what it had on disk."""

    url: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start and wait until it takes connections."""
        self._process = self._run(self._command(), self._environment())
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                output = (self.directory / "output").read_text(errors="replace")[-2_000:]
                message = f"{type(self).__name__} did not start:\n{output}"
                raise RuntimeError(message)
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a crash would, and wait until it is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hold its connections and answer nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        # A process is stopped when it gets its turn next.
        first = psutil.Process(self._process.pid)
        for each in (first, *first.children(recursive=True)):
            while os.getpgid(each.pid) == first.pid and each.status() not in (
                psutil.STATUS_STOPPED,
                psutil.STATUS_ZOMBIE,
            ):
                time.sleep(0.01)

    def resume(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def _run(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.directory / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # its children are ended with it
            )

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> Mapping[str, str]:
        return {}

    def _answers(self) -> bool:
        raise NotImplementedError


class Redis(Broker):
    """Every write is on disk before it is answered, so that a kill loses nothing that was acknowledged."""

    def __init__(self, directory: Path, tls: tuple[str, ...] = ()) -> None:
        """Take TLS only, if there are options for it."""
        super().__init__(directory)
        self.url = f"{'rediss' if tls else 'redis'}://127.0.0.1:{self.port}/0"
        self._listen = ["--port", "0", "--tls-port", str(self.port), *tls] if tls else ["--port", str(self.port)]

    def _command(self) -> list[str]:
        found = shutil.which("redis-server")
        assert found is not None, "these tests need redis-server: apt-get install redis-server"
        where = [*self._listen, "--bind", "127.0.0.1", "--dir", str(self.directory)]
        return [found, *where, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return self.url.startswith("rediss") or bool(self.client().ping())
        except (redis.RedisError, OSError):
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)


class RabbitMQ(Broker):
    """A node with a name, ports and an epmd of its own."""

    def __init__(self, directory: Path, tls: tuple[str, str] | None = None) -> None:
        """Take TLS only, if a certificate and its key are given."""
        super().__init__(directory)
        self.url = f"{'amqps' if tls else 'amqp'}://guest:guest@127.0.0.1:{self.port}/%2F"
        self._config = (_TLS if tls else _TCP).format(port=self.port, files=tls)
        self._epmd_port, self._node_port = free_port(), free_port()
        self._epmd: subprocess.Popen[bytes] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def start(self) -> None:
        (self.directory / "rabbitmq.conf").write_text(_CONFIG + self._config)
        (self.directory / "plugins").write_text("[].\n")
        if self._epmd is None:
            epmd = shutil.which("epmd")
            assert epmd is not None, "these tests need rabbitmq-server: apt-get install rabbitmq-server"
            self._epmd = self._run([epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"], {})
        super().start()

    def connection(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.URLParameters(self.url))

    def _command(self) -> list[str]:
        return [str(_RABBITMQ)]

    def _environment(self) -> Mapping[str, str]:
        here = str(self.directory)
        return {
            "HOME": here,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_LOG_BASE": here,
            "RABBITMQ_MNESIA_BASE": here,
            "RABBITMQ_NODENAME": f"tokenstream{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            # Waiting schedulers that spin would take the processor from the streams under test.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            if self.url.startswith("amqp:"):
                with quiet():  # pika logs every failure as an error
                    self.connection().close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True


_numbers = count(1)


class Route:
    """From sinks to consumers through one broker, with keys and queues that nobody else uses."""

    def __init__(self, broker: Redis | RabbitMQ) -> None:
        self.broker = broker
        self.name = f"route{next(_numbers)}"

    @cached_property
    def where(self) -> dict[str, Any]:
        """What tells a consumer where to read."""
        own = {"stream_key": self.name} if isinstance(self.broker, Redis) else {"exchange": self.name}
        return {"url": self.broker.url, "group": "readers", **own}

    def sink(self, **options: Any) -> BrokerSink:
        if isinstance(self.broker, Redis):
            return RedisSink(self.broker.url, stream_key=self.name, **{"max_length": 1_000_000, **options})
        # The queue of the consumer, so that it may come later.
        return RabbitMQSink(self.broker.url, exchange=self.name, **{"queue": f"{self.name}.readers", **options})

    def consumer(self, **options: Any) -> TokenConsumer:
        return TokenConsumer(**{**self.where, **options})

    def raw(self) -> list[str]:
        """Everything the broker holds of this route, as it stands there; for RabbitMQ it is consumed by this."""
        if isinstance(self.broker, Redis):
            return [json.dumps(fields) for _, fields in self.broker.client().xrange(self.name)]
        connection = self.broker.connection()
        channel, found = connection.channel(), []
        while (got := channel.basic_get(f"{self.name}.readers", auto_ack=True))[0] is not None:
            found.append(got[2].decode())
        connection.close()
        return found

    def sent(self) -> list[Sent]:
        """Read ``raw`` as events."""
        read = event_of if isinstance(self.broker, Redis) else lambda message: from_json(json.dumps(message).encode())
        return [read(json.loads(message)) for message in self.raw()]
