"""Files inside URLs: `data:TYPE;base64,CONTENT` (RFC 2397), as OpenAI's dialects carry them."""


def data_url(media_type: str, content: str) -> str:
    """content: base64."""
    return f"data:{media_type};base64,{content}"


def read_data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 content; None for any other URL."""
    if url[:5].lower() != "data:":
        return None
    head, comma, content = url[5:].partition(",")
    media_type, *parameters = head.split(";")
    if not comma or not parameters or parameters[-1].strip().lower() != "base64":
        return None
    return media_type.strip().lower(), content
