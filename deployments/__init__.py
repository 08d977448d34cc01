"""The seven stages, one package each, as plain async classes behind the Protocols of `protocols.py`."""
