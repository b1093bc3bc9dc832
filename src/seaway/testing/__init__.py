"""Tools for tests, shipped: builders, clocks, an in-process cluster. No product module imports it."""
