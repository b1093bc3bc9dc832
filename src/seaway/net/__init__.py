"""IP families, CIDRs and port arithmetic. Knows nothing of Kubernetes."""
