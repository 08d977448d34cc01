"""Text to word pieces, as the model was trained with, by the `tokenizers` library."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as _Tokenizer

WINDOW = 256
"""Word pieces that the model sees of a text at most, [CLS] and [SEP] included."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """ids: int64 [t], with [CLS] and [SEP]. offsets: int32 [t - 2, 2], character spans of the pieces between them."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """The model's tokenizer. Thread-safe.

    Works in the calling thread only: a text takes a small part of the time that the model takes for it, and threads
    beside the model's would take from others what the stage's share does not allow.
    """

    def __init__(self, file: Path) -> None:
        self._tokenizer = _Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(WINDOW)

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """One for each text, cut at the window's end."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> EncodedText:
        # Lone surrogates, which JSON can carry, are no characters: each becomes `?`, so offsets stay.
        encoding = self._tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"))
        offsets = np.array(encoding.offsets[1:-1], np.int32).reshape(-1, 2)
        return EncodedText(np.array(encoding.ids, np.int64), offsets)
