"""Sets the platform's databases up: the control database, a database for each tenant, and the first way in."""

from dataclasses import dataclass, field
from pathlib import Path

from kit.errors import AuthenticationError
from kit.postgres import Database, Databases, database_url
from serve_app.auth import keys
from serve_app.embedded.home import write_private
from serve_app.tenants.migrate import create_database, migrate
from serve_app.tenants.repository import Tenant, TenantRepository

DEFAULT_TENANT = "default"
ADMIN_EMAIL = "admin@localhost"
ADMIN_ROLE = "admin"
DEVELOPMENT_KEY = "development key"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What `ensure_platform` left behind.

    tenant: the default tenant. tenant_database_url: of its database. api_key: the development key. key_is_new: whether
    it was issued now. failed: tenants whose database could not be migrated, by slug, with the reason.
    """

    tenant: Tenant
    tenant_database_url: str
    api_key: str = field(repr=False)
    key_is_new: bool
    failed: dict[str, str]


async def ensure_platform(control_url: str, key_file: Path, *, key_name: str = DEVELOPMENT_KEY) -> Bootstrap:
    """Create what is missing and bring all databases to the newest schema. Safe to repeat and to run concurrently.

    key_file: where the plaintext development key is kept (mode 600). If it is gone or its key is not valid any more, a
    new key is issued and the valid ones with that name are revoked; two homes on one database use two names. Raises
    UnavailableError when the server is lost, SetupError when it lacks pgvector or a permission, or when the default
    tenant's database cannot be migrated; the failure of another tenant's database is reported in the result.
    """
    await create_database(control_url)
    await migrate(control_url, "control")
    databases = Databases(control_url, 2)
    try:
        control = databases.control
        async with control.transaction() as connection:
            await TenantRepository(connection).ensure_tenant(
                DEFAULT_TENANT, "Default", database_name_of(DEFAULT_TENANT)
            )
        failed = await _migrate_tenants(control, control_url)
        async with control.transaction() as connection:
            repository = TenantRepository(connection)
            tenant = await repository.ensure_tenant(DEFAULT_TENANT, "Default", database_name_of(DEFAULT_TENANT))
            key, is_new = await _ensure_key(repository, tenant, key_file, key_name)
    finally:
        await databases.close()
    return Bootstrap(tenant, database_url(control_url, tenant.database_name), key, is_new, failed)


def database_name_of(slug: str) -> str:
    """The name of a tenant's database."""
    return f"penstock_t_{slug}"


async def _migrate_tenants(control: Database, control_url: str) -> dict[str, str]:
    """Bring each active tenant's database to the newest schema; those that fail, with the reason."""
    failed = {}
    async with control.acquire() as connection:
        tenants = await TenantRepository(connection).tenants()
    for tenant in tenants:
        url = database_url(control_url, tenant.database_name)
        try:
            await create_database(url)
            version = await migrate(url, "tenant")
        except Exception as error:
            # Whatever is wrong with one tenant's database, the others go on.
            if tenant.slug == DEFAULT_TENANT:
                raise
            failed[tenant.slug] = str(error) or type(error).__name__
            continue
        async with control.acquire() as connection:
            await TenantRepository(connection).set_schema_version(tenant.id, version)
    return failed


async def _ensure_key(repository: TenantRepository, tenant: Tenant, key_file: Path, key_name: str) -> tuple[str, bool]:
    user_id = await repository.ensure_user(tenant.id, ADMIN_EMAIL, ADMIN_ROLE)
    plaintext = _kept_key(key_file)
    if plaintext is not None and await _is_valid(repository, plaintext):
        return plaintext, False
    await repository.revoke_keys_named(user_id, key_name)
    key = keys.generate()
    await repository.add_key(tenant.id, user_id, key_name, key.prefix, key.hash)
    # Before the commit: a crash between the two leaves a key that is not valid and is replaced at the next start.
    write_private(key_file, key.plaintext + "\n")
    return key.plaintext, True


async def _is_valid(repository: TenantRepository, plaintext: str) -> bool:
    try:
        return await repository.key_owner(keys.key_hash(plaintext)) is not None
    except AuthenticationError:
        return False


def _kept_key(key_file: Path) -> str | None:
    try:
        return key_file.read_text().strip()
    except FileNotFoundError:
        return None
