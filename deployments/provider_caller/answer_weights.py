"""Weights of the local provider, fitted on questions with known answers (docs/performance/quality.md)."""

import numpy as np

SENTENCE = np.array([2, 1, 2, 0.3, 0.5, 0.3, 0.1, 0.5, 0.2, 0.3, 0.1, -1, 0.3, 0.3], dtype=np.float32)
"""float32 [SENTENCE_FEATURES]."""

ANSWERED = np.array([4, 1, 2, 4, 1, -1, 0, -5], dtype=np.float32)
"""float32 [ANSWER_FEATURES + 1]: log-odds that the question is answered, the constant last."""
