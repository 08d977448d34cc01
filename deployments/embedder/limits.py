"""What a request to the embedder may hold."""

from collections.abc import Sequence

from kit.errors import ValidationError


def check_texts(texts: Sequence[str], *, max_texts: int, max_characters: int) -> None:
    """Raises ValidationError that names each text which is too long, or says that there are too many."""
    if len(texts) > max_texts:
        raise ValidationError(
            "Too many texts in one request.", details={"input": [f"{len(texts)} texts; allowed: at most {max_texts}."]}
        )
    problems = {
        f"input.{index}": [f"{len(text)} characters; allowed: at most {max_characters}."]
        for index, text in enumerate(texts)
        if len(text) > max_characters
    }
    if problems:
        raise ValidationError("A text is too long to embed.", details=problems)
