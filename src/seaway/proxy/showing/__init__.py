"""The wanted ruleset as text, and the difference to the kernel, for `seaway proxy render` and `diff`."""
