"""Which addresses are Services: rules and routes follow it."""
