"""Containers of images through an OCI runtime: crun, or runc."""
