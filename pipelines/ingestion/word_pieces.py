"""Word pieces of the embedding model, counted without its special tokens and without its window."""

from pathlib import Path

from tokenizers import Tokenizer

from deployments.embedder.weights import TOKENIZER_FILE
from pipelines.ingestion.chunker import Pieces, Tokenize


def tokenize_like(model: Path) -> Tokenize:
    """The tokenizer that lies beside an exported model, as the chunker wants it. Thread-safe."""
    tokenizer = Tokenizer.from_file(str(model.with_name(TOKENIZER_FILE)))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def tokenize(text: str) -> Pieces:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        return Pieces(
            [start for start, _ in encoding.offsets], [word for word in encoding.word_ids if word is not None]
        )

    return tokenize
