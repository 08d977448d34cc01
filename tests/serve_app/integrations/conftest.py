"""The endpoints of integrations on real Postgres, with a provider that does as its key is called."""

import contextlib
import io
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from aiohttp.test_utils import TestServer
from aiohttp.web import Application, Request, Response, json_response

from deployments.provider_caller import credentials
from deployments.provider_caller.catalogue import Catalogue, ProviderEntry
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.credential_table import CredentialTable
from deployments.provider_caller.credentials import Credentials
from deployments.provider_caller.providers.registry import load_registry
from kit.crypto import FileKeys
from kit.egress import EgressRules
from kit.errors import AuthenticationError
from kit.ids import uuid7
from kit.postgres import Databases
from serve_app.auth.schemas import Principal
from serve_app.http import log
from serve_app.http.app import App
from serve_app.http.gateway import Gateway
from serve_app.integrations import service as service_module
from serve_app.integrations.endpoints import integrations_router
from serve_app.integrations.key_check import KeyCheck
from serve_app.integrations.service import IntegrationService

GOOD = "sk-good-0123456789-abcd"
REFUSED = "sk-refused-0123456789-abcd"


@dataclass
class FakeProvider:
    """A server of models. `keys`: every key that it was shown; `broken`: the status that it answers with instead."""

    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    broken: int | None = None
    url: str = ""

    async def answer(self, request: Request) -> Response:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        self.keys.append(key)
        self.paths.append(request.path)
        if self.broken is not None:
            echo = {"error": {"message": f"Broken, {key}"}}
            return json_response(echo, status=self.broken, headers={"location": "http://127.0.0.1:1/secret"})
        if "refused" in key:
            return json_response({"error": {"message": f"Incorrect API key provided: {key}"}}, status=401)
        return json_response({"object": "list", "data": [], "note": key})


@dataclass
class World:
    """clients: by role. `texts`: every response body and header, and every log line, so far."""

    admin: httpx.AsyncClient
    user: httpx.AsyncClient
    stranger: httpx.AsyncClient
    provider: FakeProvider
    table: CredentialTable
    credentials: Credentials
    databases: Databases
    principals: dict[str, Principal]
    responses: list[str]
    log: io.BytesIO

    async def add(self, provider: str = "openai", key: str | None = GOOD, **fields: Any) -> Any:
        response = await self.post(provider, key, **fields)
        assert response.status_code == 201, response.text
        return response.json()

    async def post(self, provider: str = "openai", key: str | None = GOOD, **fields: Any) -> httpx.Response:
        body = {"provider": provider, **({} if key is None else {"key": key}), **fields}
        return await self.admin.post("/api/integrations", json=body)

    async def stored_key(self, provider: str = "openai", tenant: str = "admin") -> str | None:
        """What the provider caller would use."""
        await self.credentials.refresh()
        found = self.credentials.for_tenant(self.principals[tenant].tenant, provider)
        return found.key.get_secret_value() if found is not None and found.key is not None else None

    @property
    def said(self) -> str:
        return "\n".join([*self.responses, self.log.getvalue().decode()])


@pytest.fixture(scope="session")
async def fake_server() -> AsyncIterator[FakeProvider]:
    fake = FakeProvider()
    app = Application()
    app.router.add_get("/{path:.*}", fake.answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    fake.url = f"http://127.0.0.1:{server.port}"
    yield fake
    await server.close()


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    """All that is logged, of every level and with every traceback."""
    buffer = io.BytesIO()
    before = structlog.get_config()
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(buffer=buffer))
    for module, name in ((log, "_access"), (log, "_errors"), (service_module, "_log"), (credentials, "_log")):
        monkeypatch.setattr(module, name, structlog.get_logger())
    log.configure("DEBUG")
    yield buffer
    structlog.configure(**before)


@pytest.fixture
async def world(
    services: Any, fake_server: FakeProvider, tmp_path: Path, log_lines: io.BytesIO
) -> AsyncIterator[World]:
    fake_server.keys.clear()
    fake_server.paths.clear()
    fake_server.broken = None
    databases = Databases(services.database_url, 6)
    tenants = {}
    for name in ("here", "elsewhere"):
        id, slug = uuid7(), f"t-{uuid7().hex}"
        await databases.control.execute(
            "INSERT INTO tenants (id, slug, name, database_name, state) VALUES ($1, $2, $2, $2, 'active')", id, slug
        )
        tenants[name] = (id, slug)
    principals = {
        "admin": Principal(uuid7(), *tenants["here"], uuid7(), "admin"),
        "user": Principal(uuid7(), *tenants["here"], uuid7(), "user"),
        "stranger": Principal(uuid7(), *tenants["elsewhere"], uuid7(), "admin"),
    }
    keys = FileKeys(tmp_path / "secrets" / "encryption_keys")
    table, snapshot = CredentialTable(databases, keys), Credentials(databases, keys, every=60)
    await snapshot.start()
    responses: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(_client(service_of(table, fake_server), principals, name, responses))
            for name in principals
        ]
        yield World(*clients, fake_server, table, snapshot, databases, principals, responses, log_lines)
    await snapshot.close()
    await databases.control.execute("DELETE FROM tenants WHERE id = ANY($1)", [id for id, _ in tenants.values()])
    await databases.close()


def service_of(table: CredentialTable, fake: FakeProvider) -> IntegrationService:
    """Every provider is the fake server, which tenants may reach as if it were public."""
    ids = [id for id in load_registry() if id != "compatible"]
    catalogue = Catalogue(ProviderCallerConfig(), {id: ProviderEntry(base_url=f"{fake.url}/{id}") for id in ids})
    rules = EgressRules.of([fake.url.removeprefix("http://"), "127.0.0.1:1"])
    return IntegrationService(table, catalogue.providers, KeyCheck(catalogue, rules, timeout=0.3), rules)


def _client(
    service: IntegrationService, principals: dict[str, Principal], name: str, responses: list[str]
) -> httpx.AsyncClient:
    async def authenticate(key: str) -> Principal:
        if key not in principals:
            raise AuthenticationError("Unknown.")
        return principals[key]

    def gateway(router: Any) -> Any:
        return Gateway(
            router,
            authenticate=authenticate,
            request_timeout=20,
            max_body_bytes=100_000,
            metrics_allow=frozenset(),
            debug=True,
        )

    async def keep(response: httpx.Response) -> None:
        await response.aread()
        responses.append(f"{response.headers}\n{response.text}")

    app = App(gateway, contextlib.nullcontext)
    app.router.routes.extend(integrations_router(service).routes)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://penstock",
        headers={"authorization": f"Bearer {name}"},
        event_hooks={"response": [keep]},
    )
