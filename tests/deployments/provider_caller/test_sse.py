from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.provider_caller.sse import EventSplitter, parse_events
from kit.errors import UpstreamError

# A lone "\r" before a "\n" would be one line end, not two: an event keeps to one of the two families.
LINE_ENDS = st.sampled_from([st.sampled_from([b"\n", b"\r\n"]), st.just(b"\r\n"), st.just(b"\r")])
WORDS = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), max_size=12).map(str.encode)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream of whole events, written with mixed line ends, and the data that each event with data carries."""
    stream, expected = b"", []
    for _ in range(draw(st.integers(0, 6))):
        lines = draw(st.lists(st.tuples(st.sampled_from([b"data", b"data", b"", b"id", b"event"]), WORDS), max_size=4))
        data = [value for name, value in lines if name == b"data"]
        ends = draw(LINE_ENDS)
        for name, value in lines:
            stream += name + b": " + value + draw(ends)
        if lines:
            stream += draw(ends)
        if data:
            expected.append(b"\n".join(data))
    return stream, expected


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@settings(deadline=None)
@given(streams(), st.lists(st.integers(0, 10_000), max_size=12))
def test_events_come_out_whole_and_unchanged_however_the_bytes_are_cut(
    stream: tuple[bytes, list[bytes]], cuts: list[int]
) -> None:
    splitter = EventSplitter()
    pieces = [splitter.feed(piece) for piece in split(stream[0], cuts)]
    assert b"".join(pieces) == stream[0]
    assert splitter.pending == b""
    assert [event.data for piece in pieces for event in parse_events(piece)] == stream[1]


@settings(deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=8))
def test_no_byte_of_any_input_is_lost(stream: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter()
    out = b"".join(splitter.feed(piece) for piece in split(stream, cuts))
    assert out + splitter.pending == stream


def test_an_events_end_is_never_cut_in_two() -> None:
    event = b"data: 1\r\n\r\n"
    for cut in range(len(event)):
        splitter = EventSplitter()
        assert splitter.feed(event[:cut]) == b""
        assert splitter.feed(event[cut:]) == event


def test_an_unfinished_event_waits() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert splitter.pending == b"data: 2"
    assert splitter.feed(b"\n\n") == b"data: 2\n\n"


def test_an_event_without_an_end_is_refused_at_a_bound() -> None:
    with pytest.raises(UpstreamError):
        EventSplitter(max_event_bytes=10).feed(b"data: 0123456789")


def test_comments_and_types_are_told_from_data() -> None:
    (event,) = parse_events(b": ping\n\nevent: error\ndata: a\ndata:b\n\nid: 7\n\n")
    assert (event.type, event.data) == (b"error", b"a\nb")
