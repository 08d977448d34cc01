"""What a tenant has set, over the platform's defaults."""
