"""Answers: read from a provider's dialect as pieces, written from pieces in a caller's."""
