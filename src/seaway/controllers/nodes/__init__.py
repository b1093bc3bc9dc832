"""Whether nodes are alive, and what follows for the Pods on those that are not."""
