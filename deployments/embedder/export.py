"""Turns the weights of all-MiniLM-L6-v2 into ONNX files, once, and keeps them under PENSTOCK_HOME.

    models/all-MiniLM-L6-v2-<version>/
        fp32.onnx  int8.onnx  tokenizer.json
        manifest.json   SHA-256 of each of them

The folder appears complete or not at all: it is written beside its place and renamed, under a lock that lets one
process build while others wait.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deployments.embedder.weights import (
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    WEIGHTS_SHA256,
    sha256_of,
    verify_weights,
    weights_folder,
)
from kit.errors import SetupError

Precision = Literal["int8", "fp32"]

MODEL_NAME = "all-MiniLM-L6-v2"
EXPORT_VERSION = 1
"""Raised when the graph or the quantisation changes, so that homes of an older version build theirs anew."""

MANIFEST_FILE = "manifest.json"


def model_folder(home: Path) -> Path:
    """Where the exported model lies."""
    return home / "models" / f"{MODEL_NAME}-{EXPORT_VERSION}"


def ensure_model(home: Path, precision: Precision, *, console: Console | None = None) -> Path:
    """The ONNX file of a precision, checked against its manifest; exported first where there is none.

    `tokenizer.json` lies beside it. console: where the progress bar goes, stderr by default. Takes a few seconds the
    first time and 0.1 s later. Raises SetupError for a corrupt folder and for missing or foreign weights.
    """
    folder = model_folder(home)
    if not folder.exists():
        with _lock(folder):
            if not folder.exists():
                _export(folder, console or Console(stderr=True))
    verify_export(folder, precision)
    return folder / f"{precision}.onnx"


def verify_export(folder: Path, precision: Precision) -> None:
    """Raises SetupError that names the first file which is missing or not what was exported."""
    remedy = f"Delete the folder {folder}; `penstock up` builds it again."
    try:
        manifest = orjson.loads((folder / MANIFEST_FILE).read_bytes())
        expected = {name: manifest["files"][name] for name in (f"{precision}.onnx", TOKENIZER_FILE)}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SetupError(f"{folder / MANIFEST_FILE} cannot be read.", remedy) from error
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file():
            raise SetupError(f"{file} is missing.", remedy)
        if sha256_of(file) != digest:
            raise SetupError(f"{file} is corrupt: its checksum is not the one in {MANIFEST_FILE}.", remedy)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the kernel lets go of it when a process dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _export(folder: Path, console: Console) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed export left
    partial.mkdir()
    columns = (TextColumn("Embedding model: {task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("checking the weights", total=5)
            for description in _steps(partial):
                progress.update(task, advance=1, description=description)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _steps(folder: Path) -> Iterator[str]:
    """Does the work; yields the name of the step that comes next."""
    source = weights_folder()
    verify_weights(source)
    yield "building the graph"
    model = _build(source / WEIGHTS_FILE)
    yield "writing fp32"
    (folder / "fp32.onnx").write_bytes(model.SerializeToString())
    yield "quantising to int8"
    _quantise(model, folder / "int8.onnx")
    yield "writing the manifest"
    shutil.copyfile(source / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    files = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    manifest = {"model": MODEL_NAME, "version": EXPORT_VERSION, "weights_sha256": WEIGHTS_SHA256, "files": files}
    (folder / MANIFEST_FILE).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    yield "ready"


def _build(weights: Path) -> Any:
    try:
        from safetensors.numpy import load_file

        from deployments.embedder.bert_graph import build
    except ImportError as error:
        remedy = 'Install it: pip install "penstock[models]".'
        raise SetupError(f"The embedding model cannot be exported: {error.name} is not installed.", remedy) from error
    return build(load_file(weights))


def _quantise(model: Any, file: Path) -> None:
    """Weights to int8 per output channel; activations are quantised while it runs.

    Seven bits of the eight (`reduce_range`): processors without VNNI add pairs of products in 16 bits, which overflow
    with all eight and cost more similarity than the bit does.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Says that shapes need no inference first; the quantiser warns otherwise.
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    quantize_dynamic(
        model,
        file,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )
