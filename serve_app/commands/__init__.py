"""The commands of `penstock`, one file each (or one file a small family)."""
