from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.protocols import Dialect
from serve_app.chat.closing import CostNote
from serve_app.chat.dialects.events import events_of
from tests.serve_app.chat.dialects.test_replays import DIALECTS, request
from tests.serve_app.scripted_replies import Said, stream

each = pytest.mark.parametrize("dialect", DIALECTS)


def pieces(dialect: Dialect, **fields: Any) -> list[bytes]:
    events = b"".join(stream(dialect, Said("m", include_usage=True, **fields)))
    return [event + b"\n\n" for event in events.split(b"\n\n")[:-1]]


def passed(dialect: Dialect, items: list[bytes], cost: int | None) -> bytes:
    note = CostNote(request(dialect).cost_mark)
    return b"".join(note.pass_on(item) for item in items) + note.end(cost)


@given(st.data())
@each
def test_the_cost_stands_in_one_event_however_events_come_together(dialect: Dialect, data: st.DataObject) -> None:
    events = pieces(dialect)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1))))
    items = [b"".join(events[a:b]) for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    noted = passed(dialect, items, 1_500_000_000)
    assert [event["penstock"] for event in events_of(noted) if "penstock" in event] == [{"cost_usd": 1.5}]
    assert noted.replace(b',"penstock":{"cost_usd":1.5}', b"") == b"".join(events)


@each
def test_only_the_closing_event_waits(dialect: Dialect) -> None:
    note, events = CostNote(request(dialect).cost_mark), pieces(dialect)
    held = [event for event in events if not note.pass_on(event)]
    assert held == events[-len(held) :]
    assert len(held) == (2 if dialect == "openai_chat" else 1)


@each
def test_without_a_known_cost_nothing_changes(dialect: Dialect) -> None:
    assert passed(dialect, pieces(dialect), None) == b"".join(pieces(dialect))


@each
def test_text_that_looks_like_the_end_is_no_end(dialect: Dialect) -> None:
    words = ('"type":"message_stop"', '"choices":[],"usage":{}', '"type":"response.completed"')
    note = CostNote(request(dialect).cost_mark)
    events = pieces(dialect, words=words)
    assert all(note.pass_on(event) for event in events[:4])


def test_without_a_mark_everything_passes_at_once() -> None:
    note, [first, *_] = CostNote(None), pieces("openai_chat")
    assert note.pass_on(first) == first
    assert note.end(5) == b""


def test_lines_may_end_as_http_lines_do() -> None:
    events = b"".join(pieces("anthropic_messages")).replace(b"\n", b"\r\n")
    noted = passed("anthropic_messages", [events], 1_000_000_000)
    assert orjson.loads(noted.split(b"data: ")[-1])["penstock"] == {"cost_usd": 1.0}
