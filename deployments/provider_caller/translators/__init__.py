"""Translators between the dialects; `matrix.translator` gives the one for a caller and a provider."""
