"""What all workloads do with Pods: whose they are, which go first, since when they serve; making and removing them."""
