"""`penstock ask`: prints a streamed answer and its sources."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console

from kit.errors import PenstockError, SetupError
from serve_app.commands.common import OUT, JsonOption, home_of, print_json, readable_errors, settings
from serve_app.samples import COLLECTION
from serve_app.state import read_key, read_state

if TYPE_CHECKING:
    import aiohttp


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    collection: Annotated[str, typer.Option(help="Where to look.")] = COLLECTION,
    json: JsonOption = False,
) -> None:
    """Ask a question of a collection; prints the answer as it comes, then its sources.

    Example: penstock ask "Why is the sky blue?" --collection curriculum
    """
    with readable_errors():
        home = home_of(settings())
        state = read_state(home)
        asyncio.run(ask_question(state["url"], read_key(home), question, collection, None if json else OUT))


async def ask_question(url: str, key: str, question: str, collection: str, console: Console | None) -> None:
    """Ask over the API. console: where the answer is printed as text; None: JSON on standard output."""
    import aiohttp

    body = {"question": question, "collection": collection, "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    answer = ""
    result: dict[str, Any] = {}
    try:
        async with (
            aiohttp.ClientSession(url, headers=headers) as session,
            session.post("/api/v1/ai-tutor/query", json=body) as response,
        ):
            if response.status != 200:
                raise _refusal(await response.read())
            async for name, data in _events(response):
                if name == "token":
                    answer += data["text"]
                    if console is not None:
                        console.print(data["text"], end="", highlight=False, markup=False, soft_wrap=True)
                elif name == "error":
                    raise PenstockError(data["error"]["message"])
                else:
                    result |= data
    except aiohttp.ClientError as error:
        raise SetupError(f"{url} does not answer: {error}.", "Start the platform: penstock up") from error
    if console is None:
        print_json(answer=answer, **result)
    else:
        _print_sources(console, result)


async def _events(response: "aiohttp.ClientResponse") -> Any:
    name = ""
    async for line in response.content:
        text = line.rstrip(b"\r\n")
        if text.startswith(b"event: "):
            name = text[7:].decode()
        elif text.startswith(b"data: "):
            yield name, orjson.loads(text[6:])


def _refusal(body: bytes) -> PenstockError:
    try:
        return PenstockError(orjson.loads(body)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return PenstockError(body.decode(errors="replace"))


def _print_sources(console: Console, result: dict[str, Any]) -> None:
    console.print("\n")
    sources = {citation["number"]: citation for citation in result.get("citations", [])}
    for number, citation in sorted(sources.items()):
        line = f"  [{number}] {citation['heading'] or citation['document']}  ({citation['source']})"
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"  {result.get('provider')} · {result.get('model')} · {result.get('operation_type')}\n",
        style="dim",
        highlight=False,
    )
