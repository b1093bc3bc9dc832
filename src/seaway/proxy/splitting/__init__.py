"""Two data planes on one virtual address: the kernel's rules lead to a listener of the userspace plane."""
