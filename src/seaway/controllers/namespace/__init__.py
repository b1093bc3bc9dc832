"""What every Active namespace holds by default, and the end of a namespace: contents first, then the name."""
