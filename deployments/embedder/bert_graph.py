"""The BERT encoder as an ONNX graph, written node by node from its weights.

ONNX Runtime's fused operators (`com.microsoft`) are emitted directly, so that no framework and no pattern matching
stands between the weights and what runs. One pass gives both outputs:

    input_ids, attention_mask: int64 [n, t]
    sentence: float32 [n, 384], mean of the unmasked token vectors, L2-normalised
    tokens: float32 [n, t, 384], each token's vector, L2-normalised
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deployments.embedder.config import DIMENSIONS

HEADS = 12
LAYERS = 6
NORM_EPSILON = 1e-12
OPSET = 17
IR_VERSION = 9

Weights = Mapping[str, NDArray[np.float32]]
"""The tensors of a Hugging Face `BertModel`, by their names there."""


class _Graph:
    """Collects nodes and constants; every method returns the name of the value it adds."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, operator: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        outputs = [output]
        if operator == "EmbedLayerNormalization":  # its second output is required; nothing reads it
            outputs.append(f"{output}.mask_index")
        self.nodes.append(helper.make_node(operator, inputs, outputs, output, domain=domain, **attributes))
        return output

    def fused(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        return self.add(operator, inputs, output, domain="com.microsoft", **attributes)


def build(weights: Weights) -> Any:
    """The whole model as an `onnx.ModelProto`."""
    graph = _Graph()
    graph.add("Cast", ["input_ids"], "ids", to=TensorProto.INT32)
    graph.add("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    hidden = _embeddings(graph, weights)
    for layer in range(LAYERS):
        hidden = _layer(graph, weights, f"encoder.layer.{layer}", hidden)
    _outputs(graph, hidden)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"])
                for name in ("input_ids", "attention_mask")
            ],
            [
                helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["n", DIMENSIONS]),
                helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", "t", DIMENSIONS]),
            ],
            initializer=list(graph.constants.values()),
            # The quantiser cannot see through fused operators what type this is.
            value_info=[helper.make_tensor_value_info(hidden, TensorProto.FLOAT, ["n", "t", DIMENSIONS])],
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=IR_VERSION,
        producer_name="penstock",
    )
    onnx.checker.check_model(model)
    return model


def _embeddings(graph: _Graph, weights: Weights) -> str:
    # Every text is segment 0: its vector is folded into the positions, and the segment lookup falls away.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    return graph.fused(
        "EmbedLayerNormalization",
        [
            "ids",
            "",
            graph.constant("words", weights["embeddings.word_embeddings.weight"]),
            graph.constant("positions", positions),
            "",
            graph.constant("embeddings.norm.weight", weights["embeddings.LayerNorm.weight"]),
            graph.constant("embeddings.norm.bias", weights["embeddings.LayerNorm.bias"]),
        ],
        "embeddings",
        epsilon=NORM_EPSILON,
    )


def _layer(graph: _Graph, weights: Weights, name: str, hidden: str) -> str:
    attended = _attention(graph, weights, f"{name}.attention", hidden)
    hidden = _add_and_normalise(graph, weights, f"{name}.attention.output", attended, hidden)
    expanded = _matmul(graph, weights, f"{name}.intermediate.dense", hidden)
    bias = graph.constant(f"{name}.intermediate.dense.bias", weights[f"{name}.intermediate.dense.bias"])
    activated = graph.fused("BiasGelu", [expanded, bias], f"{name}.gelu")
    return _add_and_normalise(graph, weights, f"{name}.output", activated, hidden)


def _attention(graph: _Graph, weights: Weights, name: str, hidden: str) -> str:
    parts = ("query", "key", "value")
    weight = np.concatenate([weights[f"{name}.self.{part}.weight"].T for part in parts], axis=1)
    bias = np.concatenate([weights[f"{name}.self.{part}.bias"] for part in parts])
    inputs = [hidden, graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", bias), "mask"]
    return graph.fused("Attention", inputs, name, num_heads=HEADS)


def _matmul(graph: _Graph, weights: Weights, name: str, value: str) -> str:
    return graph.add("MatMul", [value, graph.constant(f"{name}.weight", weights[f"{name}.weight"].T)], name)


def _add_and_normalise(graph: _Graph, weights: Weights, name: str, value: str, residual: str) -> str:
    projected = _matmul(graph, weights, f"{name}.dense", value)
    inputs = [
        projected,
        residual,
        graph.constant(f"{name}.norm.weight", weights[f"{name}.LayerNorm.weight"]),
        graph.constant(f"{name}.norm.bias", weights[f"{name}.LayerNorm.bias"]),
        graph.constant(f"{name}.bias", weights[f"{name}.dense.bias"]),
    ]
    return graph.fused("SkipLayerNormalization", inputs, name, epsilon=NORM_EPSILON)


def _outputs(graph: _Graph, hidden: str) -> None:
    graph.add("LpNormalization", [hidden], "tokens", axis=-1, p=2)
    graph.add("Cast", ["attention_mask"], "weights", to=TensorProto.FLOAT)
    # The mean's divisor cancels in the normalisation: a row vector of the mask times the tokens is enough.
    axis = graph.constant("axis.row", np.array([1], np.int64))
    row = graph.add("Unsqueeze", ["weights", axis], "weights.row")
    total = graph.add("MatMul", [row, hidden], "sentence.sum")
    flat = graph.add("Squeeze", [total, axis], "sentence.flat")
    graph.add("LpNormalization", [flat], "sentence", axis=-1, p=2)
