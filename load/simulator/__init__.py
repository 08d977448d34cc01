"""A server that stands for the providers: their protocols, their latencies, their faults and their bills."""
