"""What a Pod finds around it, shown to an operator."""
