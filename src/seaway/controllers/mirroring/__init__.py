"""Hand-made Endpoints of Services without selector, copied into EndpointSlices."""
