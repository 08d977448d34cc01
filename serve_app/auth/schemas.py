"""Who calls."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from deployments.protocols import Account


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `tenant` is the slug that every stage and key uses."""

    key_id: UUID
    tenant_id: UUID
    tenant: str
    user_id: UUID
    role: str
    expires_at: datetime | None = None

    @property
    def account(self) -> Account:
        """Whom this caller's calls are charged to."""
        return Account(self.tenant, str(self.user_id), str(self.key_id))
