"""Who asks, and may they: identities, tokens, reviews, roles."""
