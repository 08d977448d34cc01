"""URLs that somebody else chose lead to the public internet, and nowhere else."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from aiohttp.web import Application, HTTPFound, Request, Response, RouteTableDef
from hypothesis import given
from hypothesis import strategies as st

from kit.egress import AddressError, EgressRules, GuardedResolver, check_url, guarded_connector, is_public
from kit.errors import ValidationError

NOTHING_OPENED = EgressRules()

HOSTILE = {
    "plain HTTP": ["http://api.example.com/v1", "HTTP://api.example.com"],
    "another scheme": ["ftp://api.example.com", "file:///etc/passwd", "gopher://example.com", "//example.com/v1"],
    "no URL": [
        "",
        "api.example.com",
        "https://",
        "https:///v1",
        "https:example.com",
        "javascript:alert(1)",
        "https://[",
    ],
    "a user name": ["https://user:pw@api.example.com", "https://@api.example.com", "https://api.example.com@10.0.0.1/"],
    "a fragment": ["https://api.example.com/v1#x", "https://10.0.0.1#@api.example.com/"],
    "spaces, controls, backslashes": [
        *(
            "https://api.example.com\\@10.0.0.1/",
            "https://exam\tple.com",
            "https://a.com/\r\nHost: b",
            " https://a.com",
        ),
        *("https://a.com\x00.b.com", "https://a.com/\u2028", "https://a.com/\ud800"),
    ],
    "loopback": [
        "https://127.0.0.1",
        "https://127.8.9.10:8443/v1",
        "https://[::1]/v1",
        "https://localhost",
        "https://0.0.0.0",
    ],
    "loopback by other spellings": [
        *("https://127.1", "https://2130706433", "https://017700000001", "https://0177.0.0.1", "https://0x7f.0.0.1"),
        *(
            "https://0x7f000001",
            "https://0X7F.1",
            "https://127.0.0.1.",
            "https://127.000.000.001",
            "https://0",
            "https://[::]",
        ),
    ],
    "confusable letters": [
        *(
            "https://①②⑦.⓪.⓪.①",
            "https://127。0。0。1",
            "https://１２７.0.0.1",
            "https://ⓛocalhost",
            "https://LOCALHOST.",
        ),
    ],
    "IPv4 inside IPv6": [
        *(
            "https://[::ffff:127.0.0.1]",
            "https://[::ffff:a00:1]",
            "https://[::127.0.0.1]",
            "https://[64:ff9b::10.0.0.1]",
        ),
        *("https://[64:ff9b:1::a00:1]", "https://[2002:a00:1::]", "https://[2001:0:53aa:64c::1]"),
    ],
    "private networks": [
        *(
            "https://10.0.0.1",
            "https://172.16.0.1",
            "https://172.31.255.255",
            "https://192.168.1.1",
            "https://100.64.0.1",
        ),
        *("https://[fd00::1]", "https://[fc00::1]", "https://[fec0::1]", "https://192.0.0.192", "https://198.18.0.1"),
    ],
    "link-local and clouds' metadata": [
        *(
            "https://169.254.169.254/latest/meta-data",
            "https://[fe80::1]",
            "https://[fe80::1%25eth0]",
            "https://[2606::1%25a]",
        ),
        *(
            "https://[fd00:ec2::254]",
            "https://100.100.100.200",
            "https://168.63.129.16",
            "https://metadata.google.internal",
        ),
    ],
    "multicast, reserved, documentation": [
        *(
            "https://224.0.0.1",
            "https://240.0.0.1",
            "https://255.255.255.255",
            "https://[ff02::1]",
            "https://192.0.2.1",
        ),
        *("https://[2001:db8::1]", "https://[100::1]", "https://[5f00::1]", "https://[4000::1]"),
    ],
    "names of a local network": [
        "https://vllm",
        "https://redis.",
        "https://db.internal",
        "https://a.localhost",
        "https://nas.local",
    ],
    "names that are none": [
        "https://a..b.com",
        "https://a.com..",
        "https://-a.com",
        "https://ex%61mple.com",
        "https://a.123",
    ],
    "ports of other services": [
        "https://a.com:22",
        "https://a.com:25",
        "https://a.com:80",
        "https://a.com:0",
        "https://a.com:70000",
    ],
    "too long": ["https://example.com/" + "a" * 2048],
}


@pytest.mark.parametrize(
    "url", [pytest.param(url, id=f"{kind}: {url[:60]!a}") for kind, urls in HOSTILE.items() for url in urls]
)
def test_a_hostile_url_is_refused_with_the_name_of_its_field(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_url(url, NOTHING_OPENED, field="webhook")
    assert list(refused.value.details) == ["webhook"]
    assert refused.value.message.startswith("webhook must ")


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("HTTPS://API.Example.COM.:443/v1/?a=b", "https://api.example.com/v1/?a=b"),
        ("https://bücher.example.com", "https://xn--bcher-kva.example.com"),
        ("https://ⓐpi.example.com", "https://api.example.com"),
        ("https://8.8.8.8:8443/v1", "https://8.8.8.8:8443/v1"),
        ("https://[2606:4700::1111]/v1", "https://[2606:4700::1111]/v1"),
        ("https://[64:ff9b::8.8.8.8]/v1", "https://[64:ff9b::808:808]/v1"),
    ],
)
def test_a_public_url_passes_in_its_normal_form(url: str, normalised: str) -> None:
    assert check_url(url, NOTHING_OPENED) == normalised


@given(st.ip_addresses())
def test_no_address_that_python_calls_private_is_public(address: object) -> None:
    known_private = any(
        getattr(address, f"is_{kind}")
        for kind in ("private", "loopback", "link_local", "multicast", "reserved", "unspecified")
    )
    assert not (known_private and is_public(str(address))) or str(address).startswith(("64:ff9b::", "::ffff:"))


@given(st.text(max_size=40))
def test_any_text_is_a_normal_url_or_a_validation_error(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}.example.com/"):
        with contextlib.suppress(ValidationError):
            normalised = check_url(url, NOTHING_OPENED)
            assert check_url(normalised, NOTHING_OPENED) == normalised
            assert normalised.isascii()


@pytest.mark.parametrize(
    "entry", ["vllm", "VLLM", "vllm:8000", "10.0.0.5", "10.0.0.5:8000", "[fd00::5]:8000", "fd00::5"]
)
def test_a_host_that_the_operator_opened_may_be_private_and_plain(entry: str) -> None:
    host = entry.lower().removesuffix(":8000")
    url = f"http://{'[' + host + ']' if host == 'fd00::5' else host}:8000/v1"
    assert check_url(url, EgressRules.of([entry])) == url


def test_an_opened_port_opens_no_other() -> None:
    rules = EgressRules.of(["vllm:8000"])
    for url in ("http://vllm:8001/v1", "http://vllm/v1", "http://other:8000/v1"):
        with pytest.raises(ValidationError):
            check_url(url, rules)


class FakeResolver(AbstractResolver):
    """Answers as it is told, in turn; the last answer stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize("private", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1%2"])
async def test_a_name_with_one_private_address_among_public_ones_is_refused(private: str) -> None:
    resolver = GuardedResolver(NOTHING_OPENED, FakeResolver(["8.8.8.8", private]))
    with pytest.raises(AddressError) as refused:
        await resolver.resolve("api.example.com", 443)
    assert private not in refused.value.message, "what a name means inside is nobody's business outside"


async def test_a_name_with_public_addresses_resolves_to_just_those() -> None:
    resolver = GuardedResolver(NOTHING_OPENED, FakeResolver(["8.8.8.8", "2606:4700::1111"]))
    found = await resolver.resolve("api.example.com", 443)
    assert [result["host"] for result in found] == ["8.8.8.8", "2606:4700::1111"]


class Inside:
    """A server that a tenant must not reach. `seen`: the paths that it was asked for."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        routes = RouteTableDef()

        @routes.get("/{path:.*}")
        async def answer(request: Request) -> Response:
            self.seen.append(request.path)
            if request.path == "/redirect":
                raise HTTPFound(request.query["to"])
            return Response(text="inside")

        app = Application()
        app.add_routes(routes)
        self.server = TestServer(app, host="127.0.0.1")


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    server = Inside()
    await server.server.start_server()
    yield server
    await server.server.close()


async def test_a_name_that_points_elsewhere_after_the_check_does_not_get_a_connection(inside: Inside) -> None:
    """DNS rebinding: public when it is looked at, private when it is called."""
    resolver = FakeResolver(["8.8.8.8"], ["127.0.0.1"])
    url = check_url(f"https://rebind.example.com:{inside.server.port}/v1", NOTHING_OPENED)
    assert await GuardedResolver(NOTHING_OPENED, resolver).resolve("rebind.example.com", 443)
    async with aiohttp.ClientSession(connector=guarded_connector(NOTHING_OPENED, resolver=resolver)) as session:
        with pytest.raises(AddressError):
            await session.get(url, allow_redirects=False)
    assert inside.seen == []


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    """The name is resolved once for a connection, so that there is no second answer to be different."""
    resolver = FakeResolver(["8.8.8.8"], ["127.0.0.1"])
    tried: list[object] = []

    def refuse(info: object) -> socket.socket:
        tried.append(info)
        raise ConnectionRefusedError

    connector = guarded_connector(NOTHING_OPENED, resolver=resolver, socket_factory=refuse)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get("https://rebind.example.com/v1", allow_redirects=False)
    assert resolver.asked == 1
    assert "8.8.8.8" in str(tried)
    assert "127.0.0.1" not in str(tried)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1", "localhost"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_host_that_is_an_address_is_checked_at_the_connection(inside: Inside, scheme: str, host: str) -> None:
    """No resolver is asked about it."""
    async with aiohttp.ClientSession(connector=guarded_connector(NOTHING_OPENED)) as session:
        with pytest.raises(AddressError):
            await session.get(f"{scheme}://{host}:{inside.server.port}/", allow_redirects=False)
    assert inside.seen == []


async def test_an_opened_host_is_reached_by_name_and_by_address(inside: Inside) -> None:
    port = inside.server.port
    for host in ("127.0.0.1", "llm.internal"):
        rules = EgressRules.of([f"{host}:{port}"])
        connector = guarded_connector(rules, resolver=FakeResolver(["127.0.0.1"]))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://{host}:{port}/v1", allow_redirects=False) as response,
        ):
            assert await response.text() == "inside"


async def test_a_redirect_is_not_followed_and_would_be_checked_if_it_were(inside: Inside) -> None:
    port = inside.server.port
    rules = EgressRules.of([f"llm.internal:{port}"])
    connector = guarded_connector(rules, resolver=FakeResolver(["127.0.0.1"]))
    url = f"http://llm.internal:{port}/redirect?to=http://127.0.0.1:{port}/secret"
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get(url, allow_redirects=False) as response:
            assert response.status == 302
        with pytest.raises(AddressError):
            await session.get(url)
    assert inside.seen == ["/redirect", "/redirect"]


async def test_a_refused_call_leaves_the_connector_usable(inside: Inside) -> None:
    port = inside.server.port
    rules = EgressRules.of([f"127.0.0.1:{port}"])
    async with aiohttp.ClientSession(connector=guarded_connector(rules, limit=1)) as session:
        for _ in range(3):
            with pytest.raises(AddressError):
                await session.get("https://10.0.0.1/")
        async with asyncio.timeout(2), session.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200
