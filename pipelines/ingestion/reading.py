"""A file's bytes, or the reason why there are none."""

import stat
from pathlib import Path

from pipelines.ingestion.document import ParseError

MAX_FILE_BYTES = 64 << 20
"""A document is parsed in memory."""


def read(path: Path) -> bytes:
    """The content of a regular file. Raises ParseError for everything else."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ParseError("It is not a regular file.")  # a pipe would block for ever
        if status.st_size > MAX_FILE_BYTES:
            raise ParseError(f"It has {status.st_size >> 20} MiB; a document may have {MAX_FILE_BYTES >> 20}.")
        return path.read_bytes()
    except OSError as error:
        raise ParseError(f"It cannot be read: {error.strerror}.") from error
