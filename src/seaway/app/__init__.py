"""The composition roots: one per daemon, and the supervisor that runs them all."""
