"""Counts server-sent events in a byte stream that may be cut anywhere."""

DONE = b"[DONE]"


class EventCounter:
    """Feed it the body as it comes. Only whole events that carry data count; heartbeat comments do not.

    `events` counts them without the final `[DONE]`, `done` says whether that one came and came last, `failed` whether
    one of them was an error event (`event: error`, or data that starts with `{"error"`).
    """

    def __init__(self) -> None:
        self.events = 0
        self.done = False
        self.failed = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Line ends may be LF or CRLF."""
        buffer = self._rest + data
        if b"\r" in buffer:
            # A CR at the very end may be half of a CRLF: keep it for later.
            held = b"\r" if buffer.endswith(b"\r") else b""
            buffer = buffer[: len(buffer) - len(held)].replace(b"\r\n", b"\n") + held
        *events, self._rest = buffer.split(b"\n\n")
        for event in events:
            self._take(event)

    def _take(self, event: bytes) -> None:
        lines = event.split(b"\n")
        data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        if not data:
            return
        self.done = data == [DONE]
        if self.done:
            return
        self.events += 1
        names = [line[6:].strip() for line in lines if line.startswith(b"event:")]
        if names == [b"error"] or data[0].startswith(b'{"error"'):
            self.failed = True
