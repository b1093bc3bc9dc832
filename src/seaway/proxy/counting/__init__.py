"""How often the port of a Service was asked: from the counters of the kernel to a metric that only grows."""
