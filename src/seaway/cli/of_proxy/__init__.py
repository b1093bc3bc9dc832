"""The verbs of `seaway proxy`."""
