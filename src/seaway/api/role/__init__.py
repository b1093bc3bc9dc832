"""Role and ClusterRole."""
