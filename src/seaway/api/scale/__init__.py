"""The Scale of autoscaling/v1: what the `/scale` of a workload speaks of."""
