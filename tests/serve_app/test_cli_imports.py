"""Commands answer at once: what is slow to import is imported by the commands that use it."""

import subprocess
import sys

import pytest

SLOW = ("ray", "onnx", "onnxruntime", "alembic", "sqlalchemy", "asyncpg", "redis", "aiohttp", "httpx", "numpy")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["key"], ["config", "check"], ["up", "--help"]])
def test_a_light_command_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys, serve_app.cli\n"
        f"sys.argv = ['penstock', *{arguments!r}]\n"
        f"try:\n    {'serve_app.cli.main()' if arguments else 'pass'}\n"
        "except SystemExit:\n    pass\n"
        f"print(sorted(set({SLOW!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stderr.splitlines()[-1] == "[]"
