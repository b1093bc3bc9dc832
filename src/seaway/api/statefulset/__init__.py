"""The kind's types and rules."""
