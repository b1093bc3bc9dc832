"""What the kinds that make Pods from a template share."""
