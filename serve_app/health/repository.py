"""SQL of health."""

from kit.postgres import Databases


class HealthRepository:
    """Questions that only ask whether somebody answers, and how much there is."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def ping(self) -> None:
        """Raises UnavailableError when the control database is lost."""
        await self._databases.control.fetchval("SELECT 1")

    async def tenants(self) -> list[str]:
        """Slugs of the active tenants."""
        rows = await self._databases.control.fetch("SELECT slug FROM tenants WHERE state = 'active' ORDER BY slug")
        return [row["slug"] for row in rows]
