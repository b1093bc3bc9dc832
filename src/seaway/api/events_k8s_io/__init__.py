"""Events as the group events.k8s.io shows them. They are stored once, as Events of core/v1."""
