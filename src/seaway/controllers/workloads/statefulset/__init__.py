"""StatefulSets: Pods with names that last."""
