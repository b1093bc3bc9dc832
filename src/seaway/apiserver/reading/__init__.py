"""What a LIST and a watch show, from memory."""
