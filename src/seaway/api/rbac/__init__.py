"""The rules that roles and their bindings share, and how bindings are printed."""
