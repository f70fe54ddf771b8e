"""From where the viewer is reached, and what who asks from there must know."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
_ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104  # names of what others chose


@dataclass(frozen=True)
class Reach:
    """The address to listen on; with a ``token``, every request must carry it, and any name is answered to."""

    host: str = LOOPBACK
    token: str = ""

    @classmethod
    def of(cls, host: str = LOOPBACK, *, token: bool = False) -> Reach:
        """Beyond this machine a token is always required; it is made anew. Raises ValueError."""
        if not host or any(each.isspace() or each in "/[]@" for each in host):
            message = f"--host is {host!r}; give an address of this machine, such as 0.0.0.0"
            raise ValueError(message)
        return cls(host, secrets.token_urlsafe(24) if token or not _is_loopback(host) else "")

    def address(self, port: int) -> str:
        """As a part of URLs; one that this machine can ask where the viewer listens on all."""
        host = _ANY.get(self.host, self.host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def lets_in(self, authorization: str, cookie: str = "") -> bool:
        """Return whether one of both carries the token, or none is required. Takes as long whatever differs."""
        if not self.token:
            return True
        by_header = hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode())
        return by_header or hmac.compare_digest(cookie.encode(), self.token.encode())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
