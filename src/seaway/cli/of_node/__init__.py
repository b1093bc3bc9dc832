"""The verbs of `seaway node`."""
