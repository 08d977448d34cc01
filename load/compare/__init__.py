"""Penstock beside LiteLLM and Portkey, in front of one simulator, in one run."""
