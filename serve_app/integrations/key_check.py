"""Tries a key at its provider: a GET that costs nothing.

    the provider accepts it           tested
    it refuses it                     UnprocessableError about `key`
    a tenant's address that is not public, leads nowhere or redirects    UnprocessableError about `base_url`
    anything else: no answer, an overloaded provider, no such path       not tested, with the reason

Nothing that the provider says is passed on: the words of a refusal may repeat the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

from deployments.provider_caller.call import Endpoint
from deployments.provider_caller.catalogue import Catalogue
from deployments.provider_caller.providers.base import Provider
from kit.egress import AddressError, EgressRules, guarded_connector
from kit.errors import UnprocessableError

TIMEOUT = 8.0
"""Seconds for the whole try."""
MAX_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try ended. problem: why the key could not be tried; None where the provider accepted it."""

    problem: str | None = None

    @property
    def tested(self) -> bool:
        """Whether the provider accepted the key."""
        return self.problem is None


class KeyCheck:
    """Calls providers exactly where the provider caller would. rules: for the addresses that tenants set."""

    def __init__(self, catalogue: Catalogue, rules: EgressRules, *, timeout: float = TIMEOUT) -> None:
        self._catalogue = catalogue
        self._rules = rules
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def try_key(self, provider: str, key: SecretStr | None, base_url: str | None) -> Tried:
        """Try a tenant's key. base_url: the tenant's; None: the provider's own. Raises UnprocessableError."""
        endpoint = self._catalogue.tenant_endpoint(provider, None if key is None else key.get_secret_value(), base_url)
        assert endpoint is not None, provider  # known, and with an address: the service has seen to it
        called = self._catalogue.providers[provider]
        try:
            status, error = await self._get(called, endpoint)
        except (AddressError, aiohttp.ClientError, OSError) as failure:  # a time limit is an OSError, too
            if base_url is None:
                return Tried(f"{called.name} could not be reached.")
            problem = failure.message if isinstance(failure, AddressError) else "No server answered there."
            raise _bad("base_url", problem) from None
        if called.refuses_key(status, error):
            raise _bad("key", f"{called.name} refused this key.")
        if 300 <= status < 400 and base_url is not None:
            raise _bad("base_url", "The server redirects to another address, and redirects are not followed.")
        if status in called.check_statuses:
            return Tried()
        return Tried(f"{called.name} answered the try with status {status}.")

    async def _get(self, provider: Provider, endpoint: Endpoint) -> tuple[int, Mapping[str, Any]]:
        """The status, and what the answer says of an error."""
        url = endpoint.base_url.rstrip("/") + provider.check_path
        headers = provider.headers(endpoint.key, provider.dialects[0])
        connector = guarded_connector(self._rules) if endpoint.tenant_owned else aiohttp.TCPConnector()
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            ) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            body = b"" if response.status < 400 else await response.content.read(MAX_ERROR_BYTES)
            return response.status, _error(body)


def _error(body: bytes) -> Mapping[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(content, list) and content:  # Google wraps its errors in a list
        content = content[0]
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else {}


def _bad(field: str, problem: str) -> UnprocessableError:
    return UnprocessableError(f"{field}: {problem}", details={field: [problem]})
