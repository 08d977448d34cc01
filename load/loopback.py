"""The only addresses that load goes to: this machine's own."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


class NotLoopbackError(ValueError):
    """The URL is not plain HTTP to this machine."""


@dataclass(frozen=True, slots=True)
class Address:
    """A loopback server. `prefix` is the path that all its URLs start with, without a trailing slash."""

    host: str
    port: int
    prefix: str = ""

    @property
    def authority(self) -> str:
        """`host:port` as the Host header has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def loopback_address(url: str) -> Address:
    """The address behind a URL. Raises NotLoopbackError unless it is `http://` and resolves to loopback only."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise NotLoopbackError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme != "http" or not parts.hostname:
        raise NotLoopbackError(f"{url!r} is not an http:// URL.")
    if parts.username or parts.password:
        raise NotLoopbackError("Keys do not belong into a URL.")
    host = _loopback_host(parts.hostname)
    if host is None:
        raise NotLoopbackError(f"{parts.hostname} is not this machine; load goes to loopback addresses only.")
    return Address(host, port, parts.path.rstrip("/"))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _loopback_host(hostname: str) -> str | None:
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)}
    except OSError:
        return None
    if not found or not all(ipaddress.ip_address(address).is_loopback for address in found):
        return None
    return min(found, key=lambda address: ":" in address)
