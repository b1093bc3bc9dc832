"""Control loops, a folder each."""
