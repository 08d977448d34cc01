"""Where this platform may connect to when somebody else chose the address.

    URL -> check_url when it is saved: form, scheme, host, port; refused with the field's name
        -> guarded_connector when it is called: host and port again, and every address that the name resolves to

The second look decides: a name can point elsewhere after the first one (DNS rebinding). The addresses that were
checked are the ones that are connected to. A host that is an address itself, which no resolver sees, is checked too.

There are two uses, and they do not share rules:

- **A tenant's URL** (base URL of an own key, webhook, MCP server): `EgressRules.of(tenant_hosts)`. Nothing
  that is not public, unless the operator opened that host *for tenants*. What the operator calls himself is not opened
  by that: a tenant does not reach it by typing its address.
- **The operator's URL** (settings): trusted as it stands, plain HTTP and loopback too; it needs no guard.

A request through the guarded connector says `allow_redirects=False`: a redirect would send the key and the body to a
place that the URL did not name. (A redirect that is followed none the less meets the same checks.)
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from kit.errors import UnprocessableError, ValidationError

MAX_LENGTH = 2048
"""Characters of a URL."""
HTTPS = 443
FIRST_FREE_PORT = 1024
"""Below it, ports belong to well-known services, of which HTTPS is the only one to be called."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home", "home.arpa", "intranet", "corp", "test", "invalid")
"""Top-level names that never lead to the public internet."""

# The registries of special-purpose addresses (RFC 6890 and its successors), and what clouds put beside them.
_CLOSED_V4 = tuple(
    ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's virtual machine agent and DNS
    )
)
_OPEN_V6 = ip_network("2000::/3")
_CLOSED_V6 = tuple(ip_network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = ip_network("64:ff9b::/96")


class AddressError(UnprocessableError):
    """The platform does not connect to this address. The message names the host, never what it resolved to."""

    code = "ADDRESS_NOT_ALLOWED"


@dataclass(frozen=True, slots=True)
class EgressRules:
    """allowed: hosts, or host:port, that may be private, loopback or plain HTTP. Empty: the public internet only."""

    allowed: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, hosts: Iterable[str]) -> "EgressRules":
        """The rules of a setting's list, in any case of letters."""
        return cls(frozenset(host.strip().lower().rstrip(".") for host in hosts))

    def allows(self, host: str, port: int | None) -> bool:
        """Whether the operator opened this host at this port. host: an address without brackets, or a name."""
        bracketed = f"[{host}]" if ":" in host else host
        return not self.allowed.isdisjoint((host, bracketed, f"{bracketed}:{port}"))


def check_url(url: str, rules: EgressRules, *, field: str = "base_url") -> str:
    """The URL as it will be called: ASCII, host in lower case, no trailing dot, no default port.

    Raises ValidationError that names `field`. No name is resolved here; `guarded_connector` does that.
    """
    try:
        parsed = _parsed(url)
        host = _host(parsed)
        _check_destination(parsed.scheme, host, parsed.port, rules)
    except _BadUrlError as problem:
        raise ValidationError(f"{field} {problem}.", details={field: [str(problem)]}) from None
    return str(parsed.with_host(host))


def is_public(address: str) -> bool:
    """Whether an IP address, in its usual form, is one of the public internet."""
    if "%" in address:
        return False  # a zone: link-local by definition
    return _is_public(ip_address(address))


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses one of which any address is not public."""

    def __init__(self, rules: EgressRules, resolver: AbstractResolver | None = None) -> None:
        """resolver: who is asked; None: the system's."""
        self._rules = rules
        self._resolver = resolver or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises AddressError, and OSError for a name that does not exist."""
        found = await self._resolver.resolve(host, port, family)
        opened = self._rules.allows(host.lower().removesuffix("."), port)
        if not opened and not all(is_public(result["host"]) for result in found):
            raise AddressError(f"The host {host} is not one of the public internet, so it is not called.")
        return found

    async def close(self) -> None:
        """Nothing is held: a resolver that was given is closed by its owner."""


class GuardedConnector(aiohttp.TCPConnector):
    """Opens connections to what the rules allow only. Raises AddressError for anything else."""

    def __init__(self, rules: EgressRules, *, resolver: AbstractResolver | None = None, **options: Any) -> None:
        self._rules = rules
        super().__init__(resolver=GuardedResolver(rules, resolver), **options)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """See aiohttp. Hosts that are addresses never come to the resolver, so that they are checked here."""
        try:
            _check_destination(req.url.scheme, _host(req.url), req.url.port, self._rules)
        except _BadUrlError as problem:
            raise AddressError(f"The address {req.url.host} cannot be called: it {problem}.") from None
        return await super().connect(req, traces, timeout)


def guarded_connector(rules: EgressRules, **options: Any) -> GuardedConnector:
    """The connector of a client session for URLs that somebody else chose. options: of aiohttp.TCPConnector."""
    return GuardedConnector(rules, **options)


class _BadUrlError(Exception):
    """What is wrong with a URL, as the end of a sentence that begins with the field."""


def _parsed(url: str) -> URL:
    if len(url) > MAX_LENGTH:
        raise _BadUrlError(f"must not be longer than {MAX_LENGTH} characters")
    if "\\" in url or not url.isprintable() or " " in url:
        raise _BadUrlError("must not contain spaces, control characters or backslashes")
    if "#" in url:
        raise _BadUrlError("must not have a fragment (#...)")
    try:
        parsed = URL(url)
        authority = url.partition("://")[2].partition("/")[0].partition("?")[0]
        parsed.port  # noqa: B018 - read for its error
    except ValueError:
        raise _BadUrlError("must be a URL such as https://api.example.com/v1") from None
    if not parsed.raw_host:
        raise _BadUrlError("must be a URL such as https://api.example.com/v1")
    if "@" in authority:
        raise _BadUrlError("must not hold a user name or password")
    return parsed


def _host(url: URL) -> str:
    """The host in the form in which it is compared: one trailing dot less. yarl has put it into ASCII lower case."""
    host = (url.raw_host or "").lower().removesuffix(".")
    if _address(host) is None and not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise _BadUrlError("must name a host by letters, digits, dots and hyphens")
    return host


def _check_destination(scheme: str, host: str, port: int | None, rules: EgressRules) -> None:
    if scheme not in ("http", "https"):
        raise _BadUrlError("must begin with https://")
    if rules.allows(host, port):
        return
    if scheme != "https":
        raise _BadUrlError("must begin with https://")
    address = _address(host)
    if address is not None:
        if not _is_public(address):
            raise _BadUrlError("must be an address of the public internet")
    elif "." not in host or host.endswith(tuple(f".{name}" for name in _LOCAL_NAMES)):
        raise _BadUrlError("must name a host of the public internet in full, such as api.example.com")
    if port is None or (port != HTTPS and port < FIRST_FREE_PORT):
        raise _BadUrlError(f"must use port {HTTPS}, or one from {FIRST_FREE_PORT} on")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is; None for a name. Spellings that only some programs read as an address are refused:
    127.1, 2130706433, 0x7f000001, 0177.0.0.1, ::1%eth0."""
    if "%" not in host:
        try:
            return ip_address(host)
        except ValueError:
            pass
    if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise _BadUrlError("must write an IP address in its usual form, such as 203.0.114.7")
    return None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _CLOSED_V4)
    carried = _carried(address)
    if carried is not None:
        return _is_public(carried)
    return address in _OPEN_V6 and not any(address in block for block in _CLOSED_V6)


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one reach in the end (mapped, or by NAT64)."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
