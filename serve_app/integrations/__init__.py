"""The keys that tenants bring to their providers."""
