"""How much a namespace may hold: what objects use, which quotas count them, and the commits that keep count."""
