"""The providers: one file each, with one object `PROVIDER` in it."""
