"""What of a chunk is embedded and what BM25 sees: the same, at ingestion and in the index."""


def indexed_text(heading: str, text: str) -> str:
    """The chunk under its heading: a section seldom repeats what it is about."""
    return f"{heading}\n{text}" if heading else text
