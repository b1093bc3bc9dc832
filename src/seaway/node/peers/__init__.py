"""The routes to the Pods of other nodes: one per range and node, over the link that both are on."""
