"""The examples of the documentation that are marked with `<!-- runs -->` run as they stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.process import Platform
from tests.docs.pages import ROOT, Block, blocks

BASE_URL = "http://127.0.0.1:8000"
"""What the examples name."""

# An error status of the API is a failed example.
SHELL = 'set -euo pipefail\ncurl() { command curl --fail-with-body --max-time 30 "$@"; }\n'

RUNNING = blocks("bash", "python", mark="runs")


def test_there_are_examples_in_the_readme_and_in_the_guide() -> None:
    assert {str(block.page) for block in RUNNING} >= {"README.md", "docs/api/README.md"}


@pytest.mark.parametrize("block", RUNNING, ids=str)
def test_the_example_runs(platform: Platform, block: Block) -> None:
    text = block.text.replace(BASE_URL, platform.url)
    command = ["bash", "-c", SHELL + text] if block.language == "bash" else [sys.executable, "-c", text]
    result = subprocess.run(command, env=environment(platform), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()
    assert '"error"' not in result.stdout


def environment(platform: Platform) -> dict[str, str]:
    """What a reader has set: the two variables of the guide, and `penstock` on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**platform.environment, "URL": platform.url, "KEY": platform.key, "PATH": path}
