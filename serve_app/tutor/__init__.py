"""The AI tutor."""
