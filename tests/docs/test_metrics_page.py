"""The page of metrics lists those that the code sets, with their labels."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT, text_of

PAGE = Path("docs/operators/metrics.md")
NAME = re.compile(r"penstock_\w+_(?:total|seconds)")
ROW = re.compile(rf"^\| `({NAME.pattern})` \| (`[^|]+`) \|", re.M)


def test_the_page_lists_every_metric_with_its_labels() -> None:
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in ROW.findall(text_of(PAGE))}
    assert listed == counted()


def test_other_pages_name_metrics_that_are_set() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = {name for page in pages for name in NAME.findall(page.read_text("utf-8"))}
    assert named <= set(counted())


def counted() -> dict[str, set[str]]:
    """Labels by metric, as calls of METRICS.count and METRICS.observe in the code have them."""
    found: dict[str, set[str]] = defaultdict(set)
    trees = {
        file: ast.parse(file.read_text("utf-8"))
        for folder in ("kit", "deployments", "pipelines", "serve_app")
        for file in (ROOT / folder).rglob("*.py")
    }
    names: dict[Path, dict[str, str]] = {file: dict(_constants(tree)) for file, tree in trees.items()}
    known = {constant: name for constants in names.values() for constant, name in constants.items()}
    for file, tree in trees.items():
        for call in _calls(tree):
            constant = call.args[0]
            assert isinstance(constant, ast.Name), f"{file}:{call.lineno}: a metric's name is a constant"
            name = names[file].get(constant.id) or known[constant.id]
            found[name] |= {keyword.arg for keyword in call.keywords if keyword.arg} | _spread(call, tree)
    return dict(found)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            target, value = node.targets[0], node.value.value
            if isinstance(target, ast.Name) and isinstance(value, str) and NAME.fullmatch(value):
                yield target.id, value


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "METRICS" and node.func.attr in ("count", "observe"):
                yield node


def _spread(call: ast.Call, tree: ast.Module) -> set[str]:
    """Labels that are no words of Python (`from`) stand in a mapping of the module."""
    spread = {keyword.value.id for keyword in call.keywords if not keyword.arg and isinstance(keyword.value, ast.Name)}
    return {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id in spread
        for key in node.value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
