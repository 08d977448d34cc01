"""Ray jobs, each run by its entry point through Ray's Jobs API."""
