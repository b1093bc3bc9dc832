"""The nftables data plane: Services as elements of a few large maps, changed over netlink."""
