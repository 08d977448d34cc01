"""What was used, what may be used: usage, budgets, limits."""
