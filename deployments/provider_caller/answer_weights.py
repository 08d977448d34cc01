"""Weights of the local provider, fitted on questions with known answers (docs/performance/quality.md)."""

import numpy as np

LEXICAL = np.array([2.4, 2.6, 2.6, 4.0, 1.2, 1.3, 0.9], dtype=np.float32)
"""float32 [LEXICAL_FEATURES]: chooses the sentences that are worth embedding."""

SENTENCE = np.array([2.4, 2.6, 2.6, 4.0, 1.2, 1.3, 0.9, 3.5, 3.0], dtype=np.float32)
"""float32 [LEXICAL_FEATURES + SEMANTIC_FEATURES]: puts those in order."""

ANSWERED = np.array([2, 4, 1, 3, 3, -1, -2], dtype=np.float32)
"""float32 [ANSWER_FEATURES]: log-odds that the question is answered."""
ANSWERED_BIAS = -5.0
