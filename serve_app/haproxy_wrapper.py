"""Runs in HAProxy's place: makes the configuration that Ray Serve wrote safe, then becomes HAProxy.

Serve starts `RAY_SERVE_HAPROXY_BINARY_PATH -db -f CONFIG ...` at every reload. This script rewrites CONFIG (`harden`),
asks the kernel to end HAProxy with its parent, and execs the real binary, keeping the process id that Serve watches.
It uses the standard library only: it runs at each reload and must start fast.
"""

import ctypes
import json
import os
import re
import signal
import sys
from pathlib import Path

STEERING_HEADERS = ("x-request-disconnect-disabled", "x-request-timeout-seconds", "x-haproxy-reload-id")
STEERING_PREFIXES = ("serve_", "serve-", "x-serve-", "ray-serve-", "rayserve")
"""Request headers by which a client could steer Serve: timeouts, cancellation, multiplexing, session pinning."""

PR_SET_PDEATHSIG = 1

ERRORS = {
    400: ("Bad Request", "VALIDATION_ERROR", "The request is not valid HTTP."),
    403: ("Forbidden", "PERMISSION_DENIED", "The request was refused."),
    408: ("Request Timeout", "REQUEST_TIMEOUT", "The request did not arrive in time."),
    500: ("Internal Server Error", "INTERNAL_ERROR", "The request could not be handled."),
    502: ("Bad Gateway", "UNAVAILABLE", "The server that handled this request went away. Try again."),
    503: ("Service Unavailable", "UNAVAILABLE", "No server is ready for this request. Try again."),
    504: ("Gateway Timeout", "DEADLINE_EXCEEDED", "The request was not answered in time."),
}
"""Errors that HAProxy answers by itself: reason phrase, platform error code, message."""


def harden(config: str, error_folder: Path) -> str:
    """The configuration with what clients must not reach taken away; idempotent."""
    config = re.sub(r"(stats socket \S+ )mode 666", r"\1mode 600", config)
    # Metrics and statistics only: the frontend's address is the operator's choice.
    private = r"^((?:frontend prometheus|listen stats)\n\s*bind )\*?:"
    config = re.sub(private, r"\g<1>127.0.0.1:", config, flags=re.M)
    # The ingress writes the access log; HAProxy's would go to a syslog port that nobody reads.
    config = re.sub(r"^\s*log \S+ local0 info\n", "", config, flags=re.M)
    # Once a body that came after its head has been spliced, nobody reads the client's connection until the answer
    # begins: a client that leaves is not noticed, and the provider works on for nobody.
    config = re.sub(r"^\s*option splice-request\n", "", config, flags=re.M)
    config = re.sub(r"^\s*errorfile \d+ .*\n", "", config, flags=re.M)
    errors = "".join(f"    errorfile {status} {error_folder / f'{status}.http'}\n" for status in ERRORS)
    config = re.sub(r"^defaults\n", "defaults\n" + errors, config, count=1, flags=re.M)
    # The one application has every path: a proxy that finds none for a request does not know its replicas yet.
    unrouted = r"^(backend default_backend\n\s*http-request )return status 404 .*$"
    config = re.sub(unrouted, r"\g<1>deny deny_status 503", config, flags=re.M)
    if "X-Forwarded-For %[src]" not in config:
        config = re.sub(
            r"^(frontend http_frontend\n(?:\s+bind .*\n)+)", rf"\1{_header_rules()}", config, count=1, flags=re.M
        )
    return config


def _header_rules() -> str:
    rules = [f"del-header {name}" for name in STEERING_HEADERS]
    rules += [f"del-header {prefix} -m beg" for prefix in STEERING_PREFIXES]
    # uvicorn trusts forwarded headers from loopback, so a client's own must never get through.
    rules += ["del-header Forwarded", "del-header X-Forwarded- -m beg", "set-header X-Forwarded-For %[src]"]
    # Serve adds the request id once more behind ours, as the client sent it; ours is the first and was checked.
    once = (
        "    http-response set-header x-request-id %[res.hdr(x-request-id,1)] if { res.hdr(x-request-id) -m found }\n"
    )
    return "".join(f"    http-request {rule}\n" for rule in rules) + once


def write_errors(folder: Path) -> None:
    """Write one response file for each of ERRORS, in the platform's error shape."""
    for status, (reason, code, message) in ERRORS.items():
        body = json.dumps({"error": {"code": code, "message": message, "details": {}, "request_id": None}})
        retry = "Retry-After: 1\r\n" if status in (502, 503) else ""
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{retry}"
        (folder / f"{status}.http").write_bytes(f"{head}Connection: close\r\n\r\n{body}".encode())


def main() -> None:
    """`haproxy_wrapper.py REAL_BINARY -db -f CONFIG ...`."""
    binary, *arguments = sys.argv[1:]
    config = Path(arguments[arguments.index("-f") + 1])
    write_errors(config.parent)
    draft = config.with_suffix(f".{os.getpid()}")
    draft.write_text(harden(config.read_text(), config.parent))
    draft.replace(config)
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("The process that started HAProxy is gone.")
    os.execv(binary, [binary, *arguments])  # noqa: S606 - becoming HAProxy is the point


if __name__ == "__main__":
    main()
