"""Names that are not of the cluster: who is asked for them, and what was said is kept."""
