"""The service proxy: Services and EndpointSlices become what the kernel does with packets."""
