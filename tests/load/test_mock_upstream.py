import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import openai
import pytest

from load.loopback import loopback_address
from load.mock_process import ROOT, MockProcess, mock_upstream

HELLO = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_upstream(tokens=4) as running:
        yield running


@pytest.fixture(scope="module")
def slow() -> Iterator[MockProcess]:
    with mock_upstream(tokens=1000, token_interval_ms=5) as running:
        yield running


def client(mock: MockProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=mock.base_url, api_key="any", max_retries=0)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def post(mock: MockProcess, path: str, body: bytes) -> tuple[int, dict]:
    address = loopback_address(mock.url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    connection.request("POST", path, body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_the_official_client_reads_a_whole_answer_with_its_usage(mock):
    answer = client(mock).chat.completions.create(model="mock-model", messages=HELLO)
    assert answer.choices[0].message.content == "water turns the wheel "
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "mock-model"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 4, 6)


def test_a_stream_says_the_same_as_the_whole_answer(mock):
    chunks = list(client(mock).chat.completions.create(model="mock-model", messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "water turns the wheel "
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_its_usage_when_that_is_asked_for(mock):
    options = {"include_usage": True}
    stream = client(mock).chat.completions.create(
        model="mock-model", messages=HELLO, stream=True, stream_options=options
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage.total_tokens == 6


def test_answers_have_different_ids(mock):
    create = client(mock).chat.completions.create
    assert create(model="m", messages=HELLO).id != create(model="m", messages=HELLO).id
    streamed = {next(iter(create(model="m", messages=HELLO, stream=True))).id for _ in range(3)}
    assert len(streamed) == 3


def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone(mock):
    first, second, again = client(mock).embeddings.create(model="e", input=["a", "b", "a"]).data
    assert sum(value * value for value in first.embedding) == pytest.approx(1, abs=1e-5)
    assert first.embedding == again.embedding
    assert first.embedding != second.embedding


def test_embeddings_as_floats_and_as_base64_are_the_same(mock):
    create = client(mock).embeddings.create
    as_floats = create(model="e", input="a", encoding_format="float").data[0].embedding
    assert create(model="e", input="a").data[0].embedding == pytest.approx(as_floats, abs=1e-6)


def test_it_lists_its_model(mock):
    assert [model.id for model in client(mock).models.list()] == ["mock-model"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b'{"model": "m", "messages": []}', 400),
        ("/v1/embeddings", b'{"model": "m", "input": [1]}', 400),
        ("/v1/nothing", b"{}", 404),
    ],
)
def test_what_it_cannot_answer_gets_an_error_in_openais_shape(mock, path, body, status):
    answered, error = post(mock, path, body)
    assert answered == status
    assert error["error"]["message"]


def test_bytes_that_are_not_http_get_an_error_and_no_more(mock):
    address = loopback_address(mock.url)
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        connection.sendall(b"hello\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
        assert connection.recv(65536) == b""


def test_it_counts_what_it_is_asked(mock):
    before = mock.counts()
    chat = client(mock).chat.completions.create
    chat(model="m", messages=HELLO)
    list(chat(model="m", messages=HELLO, stream=True))
    client(mock).models.list()
    after = mock.counts()
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert {name: grown[name] for name in ("requests", "chat", "streams_started", "streams_completed")} == {
        "requests": 3,
        "chat": 2,
        "streams_started": 1,
        "streams_completed": 1,
    }


def test_it_counts_a_client_that_leaves_its_stream(slow):
    stream = client(slow).chat.completions.create(model="m", messages=HELLO, stream=True)
    next(iter(stream))
    assert slow.counts()["streams_open"] == 1
    stream.close()
    eventually(lambda: slow.counts()["streams_open"] == 0)
    assert slow.counts()["streams_cancelled"] == 1
    assert slow.counts()["streams_completed"] == 0


def test_latency_passes_before_the_answer():
    with mock_upstream(latency_ms=60) as late:
        began = time.perf_counter()
        client(late).chat.completions.create(model="m", messages=HELLO)
        assert time.perf_counter() - began >= 0.055


def test_it_ends_when_the_process_that_started_it_is_killed():
    program = (
        "import time\nfrom load.mock_process import mock_upstream\n"
        "with mock_upstream() as mock:\n    print(mock.pid, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not runs(pid))


def test_a_port_in_use_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "load.mock_upstream", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot listen on port" in done.stderr


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
