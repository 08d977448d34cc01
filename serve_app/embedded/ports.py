"""The ports of embedded servers: chosen once, remembered in the home, chosen again only when somebody took them."""

import json
import random
import socket

from kit.errors import SetupError
from serve_app.embedded.home import Home, write_private

RANGE = range(21_000, 30_000)
"""Below Linux' ephemeral range, so that no outgoing connection takes one while the servers are down."""
HOST = "127.0.0.1"


def port_for(home: Home, name: str) -> int:
    """The remembered port of a server if nobody listens there, else a new one, remembered from now on."""
    file = home.run / "ports"
    try:
        ports: dict[str, int] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        ports = {}
    port = ports.get(name)
    if port is None or not is_free(port):
        ports[name] = port = _free_port(avoid=set(ports.values()))
        write_private(file, json.dumps(ports))
    return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket() as listener:
        # As the servers do: connections of a previous run that linger do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(avoid: set[int]) -> int:
    for _ in range(200):
        port = random.choice(RANGE)
        if port not in avoid and is_free(port):
            return port
    raise SetupError(f"No free port between {RANGE.start} and {RANGE.stop}.", "End programs that listen there.")
