"""A/B experiments on models: who is in which arm, and what came of it."""
