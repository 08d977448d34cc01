"""Ground floor: what any project could use unchanged. No word of Penstock's domain appears here."""
