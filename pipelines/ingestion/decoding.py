"""Bytes to clean text, or the reason why not."""

import codecs
import re

from pipelines.ingestion.document import ParseError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_BREAKS = re.compile("\r\n|[\r\u0085\u2028\u2029]")
_CONTROLS = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


def decode(data: bytes) -> str:
    """UTF-8 (or UTF-16 with a byte order mark) as text whose lines end with a plain newline.

    Control characters become spaces: a tokenizer drops them, which would glue the words around them together, and
    Postgres refuses some. Raises ParseError for anything that is not text.
    """
    try:
        text = data.decode("utf-16") if data.startswith(_UTF16) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in data[:8192]:
            raise ParseError("It is a binary file, not text.") from error
        byte = f"0x{data[error.start]:02x}" if error.start < len(data) else "its end"
        raise ParseError(f"It is not {error.encoding.upper()} text: {byte} at byte {error.start}.") from error
    if "\0" in text:
        raise ParseError("It is a binary file, not text.")
    return _CONTROLS.sub(" ", _LINE_BREAKS.sub("\n", text))
