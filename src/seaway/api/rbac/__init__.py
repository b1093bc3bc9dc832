"""Roles and their bindings: only stored; this folder knows how bindings are printed."""
