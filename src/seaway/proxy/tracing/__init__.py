"""What becomes of one packet, in words: by the model, and by the kernel's own account."""
