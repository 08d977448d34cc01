"""The usage ledger beside the simulator's bills, after thousands of mixed calls: `python -m load.ledger_check`."""
