"""The EndpointSlices of Services with a selector: which Pods, which ports, packed with few writes."""
