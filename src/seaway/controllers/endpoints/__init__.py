"""The Endpoints of a Service: what its slices say, in the older form."""
