"""Each node gets its ranges of Pod addresses."""
