"""`Idempotency-Key`: the same POST sent twice is done once.

1. The first request claims the key in Redis with a fingerprint of its method, path and body.
2. While it runs, another with the key gets 409; with another body it gets 409 for ever.
3. A successful response is stored for a day and replayed, streams too; a failure frees the key.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.errors import ConflictError, UnavailableError, ValidationError
from serve_app.http import context
from serve_app.http.bodies import read_body

KEPT_SECONDS = 24 * 3600
MAX_STORED_BYTES = 1_000_000
MAX_KEY_LENGTH = 255

_FINISH = """
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'done', 'head', ARGV[2], 'body', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""
_RELEASE = """
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
_CLAIM = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('HMGET', KEYS[1], 'fingerprint', 'state', 'head', 'body')
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fingerprint', ARGV[2], 'state', 'running')
redis.call('EXPIRE', KEYS[1], ARGV[3])
return false
"""

_log = structlog.get_logger("penstock.idempotency")


class Idempotency:
    """Middleware inside the gateway: needs the request's context and its caller.

    redis: a client that returns bytes. claim_seconds: how long a claim outlives a replica that died with it.
    """

    def __init__(self, app: ASGIApp, *, redis: Redis, claim_seconds: float) -> None:
        self._app = app
        self._claim_seconds = max(1, round(claim_seconds))
        self._redis = redis
        self._claim = redis.register_script(_CLAIM)
        self._finish = redis.register_script(_FINISH)
        self._release = redis.register_script(_RELEASE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, replay, or raise ConflictError."""
        offered = _offered_key(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if offered is None:
            await self._app(scope, receive, send)
            return
        request = context.of(scope)
        body = await read_body(receive)
        name, owner = _redis_key(request.caller.tenant, str(request.caller.user_id), offered), secrets.token_hex(16)
        fingerprint = hashlib.sha256(b"\0".join([scope["path"].encode(), scope["query_string"], body])).digest()
        stored = await self._take(name, [owner, fingerprint, self._claim_seconds])
        if stored is not None:
            await _replay(stored, fingerprint, send)
            return
        recorder = _Recorder(send)
        try:
            await self._app(scope, _with_body(body, receive), recorder)
        except BaseException:
            await self._settle(self._release, name, [owner])
            raise
        if recorder.succeeded and not (request.failed or request.client_left):
            await self._settle(self._finish, name, [owner, *recorder.stored(), KEPT_SECONDS])
        else:
            await self._settle(self._release, name, [owner])

    async def _take(self, name: str, arguments: Sequence[Any]) -> Any:
        try:
            return await self._claim(keys=[name], args=list(arguments))
        except (RedisError, OSError) as error:
            raise UnavailableError(
                "Idempotency-Key cannot be honoured now; send the request without it or try again.", retry_after=1
            ) from error

    async def _settle(self, script: Any, name: str, arguments: Sequence[Any]) -> None:
        """The response is out: a lost Redis only means that the claim runs out by itself."""
        try:
            await script(keys=[name], args=list(arguments))
        except (RedisError, OSError) as error:
            _log.warning("idempotency key not settled", error=str(error))


class _Recorder:
    """Passes messages on and keeps them, up to a limit."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._complete = False
        self._too_large = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            self._keep(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        await self._send(message)

    def _keep(self, body: bytes) -> None:
        self._too_large = self._too_large or len(self._body) + len(body) > MAX_STORED_BYTES
        if self._too_large:
            self._body.clear()
        else:
            self._body += body

    @property
    def succeeded(self) -> bool:
        return self._complete and 200 <= self._status < 300

    def stored(self) -> tuple[bytes, bytes]:
        """The response's head (JSON) and body. A head without status: done, too large to keep."""
        if self._too_large:
            return b"{}", b""
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self._headers]
        return orjson.dumps({"status": self._status, "headers": headers}), bytes(self._body)


async def _replay(stored: Sequence[bytes], fingerprint: bytes, send: Send) -> None:
    first_fingerprint, state, head, body = stored
    if first_fingerprint != fingerprint:
        raise ConflictError("This Idempotency-Key was used with another request.", should_retry=False)
    if state != b"done":
        raise ConflictError("A request with this Idempotency-Key is still running.", retry_after=1)
    response = orjson.loads(head)
    if not response:
        raise ConflictError(
            "The request with this Idempotency-Key has been done; its response was too large to keep.",
            should_retry=False,
        )
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in response["headers"]]
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": response["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _offered_key(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"idempotency-key":
            key: str = value.decode("latin-1")
            if not 1 <= len(key) <= MAX_KEY_LENGTH:
                raise ValidationError(
                    "Idempotency-Key is not valid.",
                    details={"Idempotency-Key": [f"must have 1 to {MAX_KEY_LENGTH} characters"]},
                )
            return key
    return None


def _redis_key(tenant: str, user: str, offered: str) -> str:
    digest = hashlib.sha256(offered.encode()).hexdigest()
    return f"penstock:idempotency:{tenant}:{user}:{digest}"


def _with_body(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
