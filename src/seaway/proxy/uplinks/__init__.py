"""Forwarding on the links to other machines: for the cluster only, and only until it is cleaned up."""
