"""Parts of the translation of requests, shared by the modules that are named after their pairs."""
