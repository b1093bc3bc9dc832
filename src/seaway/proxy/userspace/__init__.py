"""The userspace data plane: sockets of this process in the place of the kernel's rules."""
