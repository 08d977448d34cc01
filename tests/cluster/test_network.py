"""What the platform opens to the network, and what a client can steer by headers."""

import asyncio
import time

import grpc
import httpx
import psutil
import pytest

from tests.cluster.process import Platform


def listeners(platform: Platform) -> list[tuple[str, int, str]]:
    found = []
    for identity in platform.processes():
        try:
            process = psutil.Process(identity.pid)
            found += [
                (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port, " ".join(process.cmdline())[:60])
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
        except psutil.NoSuchProcess:
            continue
    return found


def test_nothing_listens_off_loopback_but_the_replicas_token_guarded_grpc(platform: Platform) -> None:
    open_sockets = [entry for entry in listeners(platform) if entry[0] not in ("127.0.0.1", "::1")]
    assert listeners(platform), "the test sees sockets at all"
    assert all(program.startswith("ray::ServeReplica") for _, _, program in open_sockets), open_sockets


def test_the_grpc_of_a_replica_refuses_a_call_without_the_token(platform: Platform) -> None:
    ports = [port for address, port, _ in listeners(platform) if address not in ("127.0.0.1", "::1")]
    assert ports
    for port in ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refusal:
                call(b"", timeout=5)
            assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_client_cannot_shorten_its_own_timeout_or_disable_cancellation(platform: Platform) -> None:
    async with platform.client() as client:
        forged = {"x-request-timeout-seconds": "0.001", "x-request-disconnect-disabled": "?1"}
        body = {"model": "auto@curriculum", "messages": [{"role": "user", "content": "What is a fault line?"}]}
        response = await client.post("/v1/chat/completions", json=body, headers=forged)
    assert response.status_code == 200


async def test_a_forged_forwarded_address_does_not_open_the_metrics(platform: Platform) -> None:
    """/metrics is open on loopback: a forged address must not be taken for the client's."""
    async with httpx.AsyncClient(base_url=platform.url) as stranger:
        assert (await stranger.get("/metrics")).status_code == 200
        forged = await stranger.get("/metrics", headers={"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"})
    assert forged.status_code == 200, "the address that counts is the connection's"


async def test_the_request_id_comes_back(platform: Platform) -> None:
    async with platform.client() as client:
        response = await client.get("/health", headers={"x-request-id": "abc-123"})
    assert response.headers["x-request-id"] == "abc-123"


async def test_a_slow_client_does_not_stop_the_others(platform: Platform) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    async with platform.client() as client:
        started = time.monotonic()
        assert (await client.get("/health/live")).status_code == 200
        assert time.monotonic() - started < 10
    writer.close()
