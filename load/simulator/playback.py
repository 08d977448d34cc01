"""An answer as timed writes, and what its fault makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from load.simulator.faults import Fault
from load.simulator.render import LAST_CHUNK, RenderedEvent, chunk

Ending = Literal["keep", "close", "hang", "reset"]
"""What comes after the last write: the connection stays for the next request, is closed, is left without a word until
the client goes, or is reset."""


@dataclass(frozen=True, slots=True)
class Write:
    """`wait`: seconds before it. `output`: bytes of output that the reader has once it has this."""

    data: bytes
    wait: float = 0.0
    output: int = 0
    states_input: bool = False
    states_usage: bool = False


@dataclass(slots=True)
class Playback:
    """state: what becomes of the call when all is written; None: nothing, it stays open. head: already in the first
    write. paced: the next write waits until the client has taken the last one."""

    writes: Iterator[Write]
    ending: Ending = "keep"
    state: str | None = "completed"


def stream_playback(
    head: bytes,
    events: tuple[RenderedEvent, ...],
    failure: bytes,
    fault: Fault | None,
    first_wait: float,
    interval: float,
) -> Playback:
    """A stream event by event. head: of the answer. failure: the provider's error event. first_wait: seconds before
    the first event; interval: between tokens."""
    name = "" if fault is None else fault.name
    position = _token_index(events, 0 if fault is None else fault.position)
    lead = Write(head, 0.0)
    if name == "stall_first":
        return Playback(iter((lead,)), "hang", None)
    if name == "stall_mid":
        return Playback(_played(lead, events[:position], first_wait, interval), "hang", None)
    if name == "cut_mid_event":
        torn = events[position].data[: len(events[position].data) // 2]
        return Playback(_played(lead, events[:position], first_wait, interval, torn), "close", "broken")
    if name == "cut_clean":
        return Playback(_played(lead, events[:position], first_wait, interval, end=True), "keep", "broken")
    if name == "error_mid":
        # Only responses number their events.
        failure = failure.replace(b'"sequence_number":0', b'"sequence_number":%d' % position)
        return Playback(_played(lead, events[:position], first_wait, interval, failure, end=True), "keep", "broken")
    if name == "error_200":
        return Playback(_played(lead, (), first_wait, interval, failure, end=True), "keep", "refused")
    if name == "garbled":
        return Playback(_garbled(lead, events, position, first_wait, interval), "keep", "broken")
    if name == "missing_done":
        whole = tuple(event for event in events if not event.event.ends)
        return Playback(_played(lead, whole, first_wait, interval, end=True), "keep", "broken")
    if name == "duplicate_usage":
        twice = [copy for event in events for copy in [event] * (2 if event.event.states_usage else 1)]
        return Playback(_played(lead, tuple(twice), first_wait, interval, end=True))
    if name == "slow_bytes" and fault is not None:
        return Playback(_byte_by_byte(head, events, fault.seconds))
    return Playback(_played(lead, events, first_wait, interval, end=True))


def whole_playback(head: bytes, body: bytes, fault: Fault | None) -> Playback:
    """An answer in one piece. Faults in the middle of a stream tear its body."""
    name = "" if fault is None else fault.name
    if name in ("stall_first", "stall_mid"):
        sent = body[: len(body) // 2] if name == "stall_mid" else b""
        return Playback(iter((Write(head + sent),)), "hang", None)
    if name in ("cut_mid_event", "cut_clean", "missing_done"):
        return Playback(iter((Write(head + body[: len(body) // 2]),)), "close", "broken")
    if name == "slow_bytes" and fault is not None:
        return Playback(Write(body[i : i + 1] if i else head + body[:1], fault.seconds) for i in range(len(body)))
    return Playback(iter((Write(head + body),)))


def _token_index(events: tuple[RenderedEvent, ...], count: int) -> int:
    """Where the event after the first `count` tokens is; never past the last event that carries output, so that the
    fault happens before the answer is whole."""
    carrying = [index for index, event in enumerate(events) if event.event.output]
    if not carrying:
        return max(0, len(events) - 2)
    return carrying[min(count, len(carrying) - 1)]


def _played(
    lead: Write,
    events: tuple[RenderedEvent, ...],
    first_wait: float,
    interval: float,
    more: bytes = b"",
    *,
    end: bool = False,
) -> Iterator[Write]:
    """The events, then `more`. Only tokens take time: what comes before the first one waits with it."""
    yield lead
    wait, output = first_wait, 0
    for event in events:
        yield _write(event, wait)
        wait = interval if event.event.output else 0.0
        output = event.output
    if more:
        yield Write(chunk(more), wait if events else first_wait, output)
    if end:
        yield Write(LAST_CHUNK, 0.0, output, *_stated(events))


def _garbled(
    lead: Write, events: tuple[RenderedEvent, ...], position: int, first_wait: float, interval: float
) -> Iterator[Write]:
    """One event is not JSON, the others follow as if nothing were. Nobody can be charged for what came after it."""
    yield from _played(lead, events[:position], first_wait, interval)
    output = events[position - 1].output if position else 0
    states_input = any(event.event.states_input for event in events[:position])
    torn = events[position].data.rstrip(b"\n")
    yield Write(chunk(torn[: len(torn) * 2 // 3] + b"\n\n"), interval, output, states_input)
    for event in events[position + 1 :]:
        yield Write(chunk(event.data), interval if event.event.output else 0.0, output, states_input)
    yield Write(LAST_CHUNK, 0.0, output, states_input)


def _byte_by_byte(head: bytes, events: tuple[RenderedEvent, ...], seconds: float) -> Iterator[Write]:
    yield Write(head)
    done = Write(b"")
    for event in events:
        for index in range(len(event.data)):
            byte = chunk(event.data[index : index + 1])
            done = _write(event, 0.0) if index == len(event.data) - 1 else done
            yield Write(byte, seconds, done.output, done.states_input, done.states_usage)
    yield Write(LAST_CHUNK, 0.0, done.output, done.states_input, done.states_usage)


def _write(event: RenderedEvent, wait: float) -> Write:
    return Write(chunk(event.data), wait, event.output, event.event.states_input, event.event.states_usage)


def _stated(events: tuple[RenderedEvent, ...]) -> tuple[bool, bool]:
    return any(event.event.states_input for event in events), any(event.event.states_usage for event in events)
