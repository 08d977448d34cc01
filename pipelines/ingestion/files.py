"""Which files of a folder are documents."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from kit.errors import SetupError
from pipelines.ingestion.parsers.registry import PARSERS, parser_for


@dataclass(frozen=True, slots=True)
class File:
    """source: names the document within its collection: the path from the ingested folder on, that folder's own name
    first. It is the same wherever the folder lies, and says nothing about the machine."""

    path: Path
    source: str


@dataclass(slots=True)
class Survey:
    """What there is to do. ignored: files that no parser reads, by suffix."""

    files: int = 0
    size: int = 0
    ignored: Counter[str] = field(default_factory=Counter)


def find_files(root: Path, *, unreadable: Callable[[Path, OSError], None] | None = None) -> Iterator[File]:
    """Every file with a parser under `root`, in the order of names, or `root` itself if it is a file.

    Hidden files and folders are left out; links to folders are not followed. unreadable: told of folders that cannot
    be listed.
    """
    for path in _walk(root, unreadable):
        if path == root or parser_for(path.name) is not None:
            yield File(path, _source(path, root))


def survey(root: Path) -> Survey:
    """Walk once to count. Raises SetupError when there is nothing to ingest."""
    if not root.exists():
        raise SetupError(f"{root} does not exist.", "Give a file or a folder.")
    found = Survey()
    for path in _walk(root, None):
        if path == root or parser_for(path.name) is not None:
            found.files += 1
            found.size += _size(path)
        else:
            found.ignored[path.suffix.lower() or "no suffix"] += 1
    if found.files == 0:
        raise SetupError(f"{root} holds no documents.", f"Files that can be read: {', '.join(sorted(PARSERS))}.")
    return found


def _walk(root: Path, unreadable: Callable[[Path, OSError], None] | None) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return

    def on_error(error: OSError) -> None:
        if unreadable is not None:
            unreadable(Path(error.filename), error)

    for folder, folders, names in os.walk(root, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _source(path: Path, root: Path) -> str:
    source = PurePath(root.resolve().name) / path.relative_to(root)
    # Names that are not UTF-8 cannot be stored as they are.
    return os.fsencode(source).decode("utf-8", "replace")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
