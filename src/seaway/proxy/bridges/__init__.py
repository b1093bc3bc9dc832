"""Pods of others that hang on a bridge: whether their Services work depends on the bridge."""
