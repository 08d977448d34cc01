"""What a running platform leaves in its home for other commands: where it answers, and the administrator's key."""

from pathlib import Path

import orjson

from kit.errors import SetupError

STATE = "platform.json"
KEY = "api_key"


def read_state(home: Path) -> dict[str, str]:
    """Where the platform of a home answers. Raises SetupError when it does not run."""
    try:
        state: dict[str, str] = orjson.loads((home / "run" / STATE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise SetupError(f"Penstock does not run in {home}.", "Start it: penstock up") from None
    return state


def read_key(home: Path) -> str:
    """The administrator's API key. Raises SetupError when there is none yet."""
    file = home / "secrets" / KEY
    try:
        return file.read_text().strip()
    except OSError as error:
        raise SetupError(f"There is no key in {file}: {error.strerror}.", "Start the platform: penstock up") from None
