"""The rules of integrations: who may change them, what is valid, and that a key is tried before it is stored."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import structlog
from pydantic import SecretStr

from deployments.provider_caller.credential_table import (
    CredentialTable,
    NewCredential,
    StoredCredential,
    already_there,
)
from deployments.provider_caller.providers.base import Provider
from kit.crypto import SealedError
from kit.egress import EgressRules, check_url
from kit.errors import ConflictError, NotFoundError, PermissionDeniedError, UnprocessableError, ValidationError
from serve_app.auth.schemas import Principal
from serve_app.http.errors import bad_field
from serve_app.integrations.key_check import KeyCheck, Tried
from serve_app.integrations.schemas import Integration, IntegrationUpdate, NewIntegration, hint_of
from serve_app.tenants.service import ADMIN_ROLE

TASKMASTER = "taskmaster"
"""Not a provider of models: stored for agents, never called from here."""

_log = structlog.get_logger("penstock.integrations")


class IntegrationService:
    """Integrations of the caller's tenant."""

    def __init__(
        self, table: CredentialTable, providers: Mapping[str, Provider], check: KeyCheck, rules: EgressRules
    ) -> None:
        """rules: for the base URLs that tenants set."""
        self._table = table
        self._providers = providers
        self._check = check
        self._rules = rules

    async def list(self, caller: Principal) -> list[Integration]:
        """All of the tenant for an administrator, else the caller's own."""
        return [_shown(row) for row in await self._table.all_of(caller.tenant_id) if _may_read(caller, row)]

    async def get(self, caller: Principal, id: str) -> Integration:
        """One. Raises NotFoundError."""
        return _shown(await self._row(caller, id))

    async def add(self, caller: Principal, new: NewIntegration) -> Integration:
        """Try the key and store it. Raises ConflictError where the tenant has an integration with this provider."""
        _require_admin(caller)
        self._require_known(new.provider)
        base_url = self._base_url(new.provider, new.base_url)
        if new.key is None and self._needs_key(new.provider):
            raise bad_field("key", "is required")
        if any(row.provider == new.provider for row in await self._table.all_of(caller.tenant_id)):
            raise already_there(new.provider)
        tried = await self._try(new.provider, new.key, base_url)
        row = await self._table.add(
            caller.tenant_id, caller.user_id, _credential(new.provider, new, base_url, tested_at=_now(tried))
        )
        _log.info("integration added", tenant=caller.tenant, provider=row.provider, user_id=str(caller.user_id))
        return _shown(row, tried)

    async def replace(self, caller: Principal, id: str, update: IntegrationUpdate) -> Integration:
        """Try the key, the new or the kept one, and store. Raises NotFoundError.

        A kept key stays where it was: whoever may set the address, but does not know the key, must not be able to
        have it sent to an address of his own.
        """
        _require_admin(caller)
        row = await self._row(caller, id)
        base_url = self._base_url(row.provider, update.base_url)
        if update.key is None and base_url != row.base_url:
            raise bad_field("key", "is required when base_url changes")
        key = update.key or await self._stored_key(caller, row)
        tried = await self._try(row.provider, key, base_url)
        changed = await self._table.replace(
            caller.tenant_id, row.id, _credential(row.provider, update, base_url, tested_at=_now(tried))
        )
        if changed is None:
            raise ConflictError("The integration was changed or deleted meanwhile: read it again.")
        _log.info("integration changed", tenant=caller.tenant, provider=row.provider, user_id=str(caller.user_id))
        return _shown(changed, tried)

    async def test(self, caller: Principal, id: str) -> Integration:
        """Try the stored key again. Raises NotFoundError, and UnprocessableError where it is refused."""
        _require_admin(caller)
        row = await self._row(caller, id)
        key = await self._stored_key(caller, row)
        try:
            tried = await self._try(row.provider, key, row.base_url)
        except UnprocessableError:
            await self._table.set_tested(caller.tenant_id, row.id, None)
            raise
        await self._table.set_tested(caller.tenant_id, row.id, _now(tried))
        return _shown(await self._row(caller, id), tried)

    async def delete(self, caller: Principal, id: str) -> None:
        """Delete. Raises NotFoundError."""
        _require_admin(caller)
        parsed = _parsed(id)
        if parsed is None or not await self._table.delete(caller.tenant_id, parsed):
            raise _unknown()
        _log.info("integration deleted", tenant=caller.tenant, id=str(parsed), user_id=str(caller.user_id))

    async def _row(self, caller: Principal, id: str) -> StoredCredential:
        parsed = _parsed(id)
        row = None if parsed is None else await self._table.get(caller.tenant_id, parsed)
        if row is None or not _may_read(caller, row):
            raise _unknown()
        return row

    async def _stored_key(self, caller: Principal, row: StoredCredential) -> SecretStr | None:
        try:
            return await self._table.key(caller.tenant_id, row.id)
        except SealedError as error:
            _log.error("key does not open", tenant=caller.tenant, provider=row.provider, reason=error.message)
            problem = "The stored key cannot be opened any more: set it again."
            raise UnprocessableError(f"key: {problem}", details={"key": [problem]}) from None

    async def _try(self, provider: str, key: SecretStr | None, base_url: str | None) -> Tried:
        if provider == TASKMASTER:
            return Tried("Taskmaster is not called from here, so its key is not tried.")
        return await self._check.try_key(provider, key, base_url)

    def _require_known(self, provider: str) -> None:
        allowed = sorted([*self._providers, TASKMASTER])
        if provider not in allowed:
            raise bad_field("provider", f"must be one of {', '.join(allowed)}")

    def _needs_key(self, provider: str) -> bool:
        return provider != TASKMASTER and self._providers[provider].needs_key

    def _base_url(self, provider: str, given: str | None) -> str | None:
        """The address in its normal form. Raises ValidationError."""
        if provider == TASKMASTER:
            if given is not None:
                raise bad_field("base_url", f"must not be set for {TASKMASTER}")
            return None
        if given is None:
            if not self._providers[provider].base_url:
                raise bad_field("base_url", f"is required for {provider}: the address of your server")
            return None
        if "?" in given:
            raise bad_field("base_url", "must not have a query (?...)")
        try:
            return check_url(given, self._rules).rstrip("/")
        except ValidationError as error:
            raise bad_field("base_url", "; ".join(error.details["base_url"])) from None


def _require_admin(caller: Principal) -> None:
    if caller.role != ADMIN_ROLE:
        raise PermissionDeniedError("Only administrators may change integrations.")


def _may_read(caller: Principal, row: StoredCredential) -> bool:
    return caller.role == ADMIN_ROLE or row.user_id == caller.user_id


def _unknown() -> NotFoundError:
    return NotFoundError("There is no integration with this id.", details={"id": ["must be the id of an integration"]})


def _parsed(id: str) -> UUID | None:
    try:
        return UUID(id)
    except ValueError:
        return None


def _now(tried: Tried) -> datetime | None:
    return datetime.now(UTC) if tried.tested else None


def _credential(
    provider: str, given: IntegrationUpdate, base_url: str | None, *, tested_at: datetime | None
) -> NewCredential:
    hint = "" if given.key is None else hint_of(given.key.get_secret_value())
    return NewCredential(provider, given.key, base_url, given.config, hint, tested_at)


def _shown(row: StoredCredential, tried: Tried | None = None) -> Integration:
    return Integration(
        id=row.id,
        user_id=row.user_id,
        provider=row.provider,
        base_url=row.base_url,
        config=dict(row.config),
        hint=row.hint,
        tested=row.tested_at is not None,
        tested_at=row.tested_at,
        problem=None if tried is None else tried.problem,
        inserted_at=row.created_at,
        updated_at=row.updated_at,
    )
