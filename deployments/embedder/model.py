"""all-MiniLM-L6-v2 on ONNX Runtime: texts to sentence and token vectors, synchronously."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from deployments.embedder.batching import plan
from deployments.embedder.config import DIMENSIONS
from deployments.embedder.tokenizer import EncodedText, Tokenizer
from deployments.embedder.weights import TOKENIZER_FILE
from deployments.protocols import Embeddings, TokenVectors, Vectors
from kit.errors import SetupError


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """sentence: float32 [384], L2-normalised. tokens: None where they were not asked for."""

    sentence: Vectors
    tokens: TokenVectors | None


class OnnxEmbedder:
    """The model in this process. Thread-safe; ONNX Runtime releases the GIL while it computes."""

    def __init__(self, model: Path, *, threads: int) -> None:
        """model: what `ensure_model` returned. threads: of ONNX Runtime, the calling one included."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait for work sleep: a replica that has nothing to do takes no CPU from the others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this one
            raise SetupError(
                f"ONNX Runtime cannot load {model}: {error}",
                f"Delete the folder {model.parent}; `penstock up` builds it again.",
            ) from error
        self.tokenizer = Tokenizer(model.with_name(TOKENIZER_FILE))

    def encode(
        self, texts: Sequence[str], *, tokens: bool = False, max_texts: int = 32, max_tokens: int = 1024
    ) -> Embeddings:
        """Embed texts in order. The last two bound what goes through the model together, padding included."""
        encoded = self.tokenizer.encode(texts)
        lengths = [len(text) for text in encoded]
        results: list[EmbeddedText | None] = [None] * len(texts)
        for batch in plan(lengths, max_texts=max_texts, max_tokens=max_tokens):
            embedded = self.run([encoded[index] for index in batch], tokens=[tokens] * len(batch))
            for index, result in zip(batch, embedded, strict=True):
                results[index] = result
        return collect([result for result in results if result is not None], lengths)

    def run(self, batch: Sequence[EncodedText], *, tokens: Sequence[bool]) -> list[EmbeddedText]:
        """One pass of the model over all of `batch`, padded to its longest text. tokens: which of them want theirs."""
        inputs = pad(batch)
        if not any(tokens):
            (sentences,) = self.session.run(["sentence"], inputs)
            return [EmbeddedText(sentence, None) for sentence in sentences]
        sentences, vectors = self.session.run(["sentence", "tokens"], inputs)
        return [
            # A copy, so that one text's tokens do not keep the whole padded batch in memory.
            EmbeddedText(sentence, TokenVectors(rows[1 : len(text) - 1].copy(), text.offsets) if wanted else None)
            for sentence, rows, text, wanted in zip(sentences, vectors, batch, tokens, strict=True)
        ]


def pad(batch: Sequence[EncodedText]) -> dict[str, NDArray[np.int64]]:
    """The model's inputs, both int64 [n, t]."""
    width = max(len(text) for text in batch)
    input_ids = np.zeros((len(batch), width), np.int64)
    attention_mask = np.zeros((len(batch), width), np.int64)
    for row, text in enumerate(batch):
        input_ids[row, : len(text)] = text.ids
        attention_mask[row, : len(text)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def collect(texts: Sequence[EmbeddedText], lengths: Sequence[int]) -> Embeddings:
    """One Embeddings of all texts; lengths are their word pieces."""
    sentences = np.stack([text.sentence for text in texts]) if texts else np.empty((0, DIMENSIONS), np.float32)
    return Embeddings(sentences, tuple(lengths), tuple(text.tokens for text in texts if text.tokens is not None))
