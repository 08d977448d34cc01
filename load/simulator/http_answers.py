"""Answers as HTTP/1.1 bytes."""

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
PROXY_PAGE = (b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(_PAGE)) + _PAGE
"""What a proxy says when the provider behind it is away."""
_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    404: b"Not Found",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    529: b"Overloaded",
}


def json_head(status: int, size: int, extra: bytes = b"") -> bytes:
    """The head of a JSON answer. extra: more header lines."""
    line = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
    return line % (status, _REASONS[status], size, extra)


def json_answer(status: int, body: bytes, extra: bytes = b"") -> bytes:
    """Head and body."""
    return json_head(status, len(body), extra) + body


def empty_answer(*, stream: bool) -> bytes:
    """200 with nothing in it."""
    kind = b"text/event-stream" if stream else b"application/json"
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: 0\r\n\r\n" % kind
