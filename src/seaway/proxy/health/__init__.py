"""What load balancers and supervisors are told: whether this node serves a Service, and whether the proxy keeps up."""
