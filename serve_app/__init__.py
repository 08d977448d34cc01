"""The product: the composition root, the HTTP surface, the command line, and one package per domain."""
