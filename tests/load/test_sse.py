import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from load.sse import EventCounter

EVENTS = (
    b'data: {"a": 1}\n\n',
    b": heartbeat\n\n",
    b"event: note\ndata: first line\ndata: second line\n\n",
    b"event: error\ndata: {}\n\n",
    b'data: {"error": {"message": "gone"}}\n\n',
)
streams = st.lists(st.sampled_from(EVENTS), max_size=12)
cuts = st.lists(st.integers(0, 400), max_size=12)


def counted(data: bytes, cuts: Sequence[int] = ()) -> EventCounter:
    counter = EventCounter()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        counter.feed(data[start:end])
    return counter


@given(streams, st.booleans(), st.booleans(), cuts)
def test_where_the_bytes_are_cut_makes_no_difference(events, ends, with_carriage_returns, cuts):
    data = b"".join(events) + (b"data: [DONE]\n\n" if ends else b"")
    if with_carriage_returns:
        data = data.replace(b"\n", b"\r\n")
    counter = counted(data, cuts)
    assert counter.events == sum(event != EVENTS[1] for event in events)
    assert counter.failed == any(event in EVENTS[3:] for event in events)
    assert counter.done == ends


def test_an_event_counts_when_it_is_whole():
    counter = EventCounter()
    counter.feed(b"data: 1\n")
    assert counter.events == 0
    counter.feed(b"\n")
    assert counter.events == 1


def test_the_end_must_come_last():
    assert not counted(b"data: [DONE]\n\ndata: more\n\n").done
    assert not counted(b"data: [DONE]").done
