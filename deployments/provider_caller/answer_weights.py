"""Weights of the local provider, fitted on questions with known answers; how, and what they achieve on questions that
they were not fitted on: docs/performance/quality.md."""

import numpy as np

LEXICAL = np.array([2.9, 3.2, 2.9, 4.6, 1.3, 1.3, 0.8], dtype=np.float32)
"""float32 [LEXICAL_FEATURES]: chooses the sentences that are worth embedding."""

SENTENCE = np.array([1.6, 1.8, 2.9, 2.4, 1.0, 1.1, 0.7, 2.6, 2.8], dtype=np.float32)
"""float32 [LEXICAL_FEATURES + SEMANTIC_FEATURES]: puts those in order."""

ANSWERED = np.array([12.7, 9.9, -1.8], dtype=np.float32)
"""float32 [ANSWER_FEATURES]: log-odds that the question is answered."""
ANSWERED_BIAS = -10.25
"""Set so that about 2 % of answerable questions are refused: refusing wrongly is the worse mistake."""
