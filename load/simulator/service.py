"""What becomes of one request to a provider: it is judged, gets its fault, its answer and its bill."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import orjson

from load.simulator import embeddings, models
from load.simulator.counts import Call, Counts
from load.simulator.errors import ProviderError, error_body, error_content
from load.simulator.faults import HEADER, REFUSALS, SUFFIX, Fault, FaultChooser, UnknownFaultError, marked
from load.simulator.generation import Generator
from load.simulator.http_answers import PROXY_PAGE, STREAM_HEAD, empty_answer, json_answer, json_head
from load.simulator.latency import LatencyModel
from load.simulator.plain import plain_key
from load.simulator.playback import Playback, Write, stream_playback, whole_playback
from load.simulator.prompt import Prompt
from load.simulator.prompt_cache import InputTokens, PromptCache
from load.simulator.providers import Provider, Route
from load.simulator.refusals import refusal, unauthorized
from load.simulator.render import InvalidReplyError, RenderedStream, Renderer, numbered
from load.simulator.reply import Dialect, Reply
from load.simulator.validate import Judge

Headers = dict[bytes, bytes]
"""By lower-case name."""
PREPARED_KEPT = 50_000


@dataclass(slots=True)
class Exchange:
    """The answer to one request. wait: seconds before its first byte. ready: all its bytes, where nothing but the
    wait is between them; empty where `playback` says how it goes."""

    call: Call | None
    ready: bytes = b""
    playback: Playback | None = None
    wait: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An answer that can be given many times: what is charged for it, and its bytes but for the number of the call.
    ready: all of it, with its head. whole: its body; empty for a stream. cost: nano-dollars that it states."""

    model: str
    reply: Reply
    output: int
    steps: int
    ready: bytes
    cost: int | None
    whole: bytes = b""
    stream: RenderedStream | None = None


class Service:
    """All providers. judge: None validates nothing."""

    def __init__(
        self, *, generator: Generator, latency: LatencyModel, faults: FaultChooser, judge: Judge | None
    ) -> None:
        self.generator = generator
        self.latency = latency
        self.faults = faults
        self.cache = PromptCache()
        self.counts = Counts()
        self._judge = judge
        self._render = Renderer(judge, self.counts)
        self._prepared: dict[Hashable, Prepared] = {}
        self._serial = 0

    def answer(self, route: Route, headers: Headers, data: bytes) -> Exchange:
        """One request to a known path. data: its body."""
        wrong = unauthorized(route.provider, headers)
        if wrong is not None:
            return self._refused(route.provider, wrong)
        if route.operation == "models":
            return Exchange(None, ready=json_answer(200, models.listing(route.provider)))
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            return self._invalid(route, "", f"The body is not JSON: {error}", "body", data)
        if not isinstance(body, dict):
            return self._invalid(route, "", "The body must be a JSON object.", "body", data)
        schema = _schema(route, headers)
        plain = None if self.faults.planned or HEADER in headers else plain_key(body)
        key = None if plain is None else (schema, route.operation, self.generator.length, plain)
        prepared = self._prepared.get(key)
        if prepared is not None:
            return self._played(route, prepared, None, self._opened(route, prepared.model, None, headers, body))
        return self._judged(route, schema, body, headers, data, key)

    def _judged(
        self, route: Route, schema: str, body: dict[str, Any], headers: Headers, data: bytes, key: Hashable
    ) -> Exchange:
        """Validate, then serve. key: to keep the answer by, None to keep nothing."""
        model = str(body.get("model") or "")
        try:
            fault = _asked(model, headers)
        except UnknownFaultError as error:
            return self._invalid(route, model, str(error), "model", data)
        if SUFFIX in model:
            model = body["model"] = model.partition(SUFFIX)[0]
        problem = None if self._judge is None else self._judge.request(schema, body)
        if problem is not None:
            return self._invalid(route, model, problem.message, problem.field, data)
        try:
            return self._served(route, body, fault, headers, key)
        except InvalidReplyError as error:
            message = f"The simulator's own answer is invalid: {error}"
            return self._refused(route.provider, ProviderError(500, "server", message))
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            if self._judge is not None:
                raise
            return self._invalid(route, model, f"The body cannot be read: {error!r}", "body", data)

    def _served(
        self, route: Route, body: dict[str, Any], fault: Fault | None, headers: Headers, key: Hashable
    ) -> Exchange:
        provider = route.provider
        prompt = embeddings.read(body) if route.dialect is None else route.dialect.read(body)
        if route.operation == "count_tokens":
            return Exchange(None, ready=json_answer(200, orjson.dumps({"input_tokens": prompt.tokens})))
        fault = fault or marked(prompt.last_user) or self.faults.drawn(provider.name)
        call = self._opened(route, prompt.model, fault, headers, body)
        wrong = refusal(provider, prompt, fault)
        if wrong is not None:
            return self._refused(provider, wrong, call)
        call.input = InputTokens(prompt.tokens)
        instead = None if fault is None else _instead(fault, call)
        if instead is not None:
            return Exchange(call, playback=instead)
        if route.dialect is None:
            return self._embedded(provider, prompt, body, fault, call)
        prompt.reasons |= provider.model(prompt.model).reasons and body.get("reasoning_effort") != "none"
        prepared = self._prepare(route, route.dialect, prompt)
        if key is not None and len(self._prepared) < PREPARED_KEPT:
            self._prepared[key] = prepared
        return self._played(route, prepared, fault, call)

    def _prepare(self, route: Route, dialect: Dialect, prompt: Prompt) -> Prepared:
        generation = self.generator.answer(prompt)
        reply = Reply(
            route.provider.name,
            prompt.model,
            generation,
            self._input(route.provider, prompt),
            prompt.include_usage,
            prompt.logprobs,
            prompt.top_logprobs,
            prompt.searches,
        )
        output, steps, cost = generation.output_tokens, generation.steps, dialect.cost(reply)
        if prompt.stream:
            stream = self._render.stream(route.schema, dialect, reply)
            return Prepared(prompt.model, reply, output, steps, STREAM_HEAD + stream.chunked, cost, stream=stream)
        whole = self._render.whole(route.schema, dialect, reply)
        return Prepared(prompt.model, reply, output, steps, json_answer(200, whole), cost, whole)

    def _played(self, route: Route, prepared: Prepared, fault: Fault | None, call: Call) -> Exchange:
        self._serial += 1
        serial, stream = self._serial, prepared.stream
        call.input, call.output, call.cost = prepared.reply.input, prepared.output, prepared.cost
        first, interval = self.latency.times(call.provider, call.model)
        if stream is None:
            wait = first + interval * (prepared.steps - 1)
            if fault is None:
                return Exchange(call, numbered(prepared.ready, serial), wait=wait)
            data = numbered(prepared.whole, serial)
            return _torn(call, data, orjson.dumps(self._failed(route, prepared)), fault, wait)
        if fault is None and not first and not interval:
            return Exchange(call, numbered(prepared.ready, serial))
        assert route.dialect is not None
        error = error_content(route.provider.errors, REFUSALS["500"])
        begun = fault is not None and fault.name == "error_mid"
        failure = route.dialect.failure(prepared.reply, error, begun=begun).data
        return Exchange(
            call, playback=stream_playback(STREAM_HEAD, stream.numbered(serial), failure, fault, first, interval)
        )

    def _failed(self, route: Route, prepared: Prepared) -> dict[str, Any]:
        assert route.dialect is not None
        return route.dialect.failed(prepared.reply, error_content(route.provider.errors, REFUSALS["500"]))

    def _opened(self, route: Route, model: str, fault: Fault | None, headers: Headers, body: dict[str, Any]) -> Call:
        request_id = headers.get(b"x-client-request-id")
        call = Call(
            route.provider.name,
            model,
            route.operation,
            None if request_id is None else request_id.decode("latin-1"),
            body.get("stream") is True,
            None if fault is None else fault.name,
        )
        self.counts.opened(call)
        return call

    def _embedded(
        self, provider: Provider, prompt: Prompt, body: dict[str, Any], fault: Fault | None, call: Call
    ) -> Exchange:
        self._serial += 1
        wait, _ = self.latency.times(provider.name, prompt.model)
        data = embeddings.answer(body, prompt)
        if fault is None:
            return Exchange(call, ready=json_answer(200, data), wait=wait)
        return _torn(call, data, error_body(provider.errors, REFUSALS["500"]), fault, wait)

    def _input(self, provider: Provider, prompt: Prompt) -> InputTokens:
        if provider.caching == "implicit":
            return self.cache.implicit(f"{provider.name}/{prompt.model}", prompt)
        if provider.caching == "explicit":
            return self.cache.explicit(f"{provider.name}/{prompt.model}", prompt)
        return InputTokens(prompt.tokens)

    def _refused(self, provider: Provider, error: ProviderError, call: Call | None = None) -> Exchange:
        self._serial += 1
        body = numbered(error_body(provider.errors, error), self._serial)
        extra = b"" if error.retry_after is None else b"retry-after: %b\r\n" % error.retry_after.encode()
        answer = json_answer(error.status, body, extra)
        if call is None:
            return Exchange(None, ready=answer)
        return Exchange(call, playback=Playback(iter((Write(answer),)), state="refused"))

    def _invalid(self, route: Route, model: str, message: str, field: str, data: bytes) -> Exchange:
        self.counts.invalid(route.provider.name, model, message, data)
        return self._refused(route.provider, ProviderError(400, "invalid", message, field))


def _asked(model: str, headers: Headers) -> Fault | None:
    """The fault of the header or of the model's suffix. Raises UnknownFaultError."""
    stated = headers.get(HEADER)
    if stated:
        return Fault.parse(stated.decode("latin-1"))
    suffix = model.partition(SUFFIX)[2]
    return Fault.parse(suffix) if suffix else None


def _instead(fault: Fault, call: Call) -> Playback | None:
    """Of the faults that take the place of the answer; None for the others."""
    if fault.name == "refuse":
        return Playback(iter(()), "reset", "refused")
    if fault.name == "stall_before":
        return Playback(iter(()), "hang", None)
    if fault.name == "html":
        return Playback(iter((Write(PROXY_PAGE),)), state="refused")
    if fault.name == "empty":
        return Playback(iter((Write(empty_answer(stream=call.stream)),)), state="broken")
    return None


def _torn(call: Call, data: bytes, failed: bytes, fault: Fault, wait: float) -> Exchange:
    """A whole answer with a fault. failed: the body that says that it failed."""
    if fault.name in ("error_200", "error_mid"):
        playback = Playback(iter((Write(json_answer(200, failed)),)), state="refused")
    elif fault.name == "garbled":
        playback = Playback(iter((Write(json_answer(200, data[: len(data) * 2 // 3])),)), state="broken")
    else:
        playback = whole_playback(json_head(200, len(data)), data, fault)
    return Exchange(call, playback=playback, wait=wait)


def _schema(route: Route, headers: Headers) -> str:
    """The older version of Anthropic's API has more fields."""
    if route.schema == "anthropic_messages" and headers.get(b"anthropic-version") == b"2023-06-01":
        return "anthropic_messages@2023-06-01"
    return route.schema
