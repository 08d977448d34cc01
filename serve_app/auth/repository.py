"""SQL of authentication."""

from collections.abc import Sequence

from kit.postgres import Databases
from serve_app.auth.schemas import Principal

_FIND = """
SELECT k.key_hash, k.id AS key_id, k.expires_at, t.id AS tenant_id, t.slug, u.id AS user_id, u.role
FROM api_keys k
JOIN tenants t ON t.id = k.tenant_id
JOIN users u ON u.id = k.user_id
WHERE k.key_hash = ANY($1::bytea[])
  AND k.revoked_at IS NULL
  AND (k.expires_at IS NULL OR k.expires_at > now())
  AND t.state = 'active'
"""


class KeyRepository:
    """API keys in the control database."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def find(self, hashes: Sequence[bytes]) -> dict[bytes, Principal]:
        """The callers of those hashes that belong to a usable key of an active tenant."""
        rows = await self._databases.control.fetch(_FIND, list(hashes))
        return {
            row["key_hash"]: Principal(
                key_id=row["key_id"],
                tenant_id=row["tenant_id"],
                tenant=row["slug"],
                user_id=row["user_id"],
                role=row["role"],
                expires_at=row["expires_at"],
            )
            for row in rows
        }
