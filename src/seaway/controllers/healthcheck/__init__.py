"""Active checks of endpoints that no kubelet watches; what they find becomes conditions of EndpointSlices."""
