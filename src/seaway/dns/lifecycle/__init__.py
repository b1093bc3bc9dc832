"""What the server does besides answering: pages for those who look after it, reloads, files that change, loops."""
