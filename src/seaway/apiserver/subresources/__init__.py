"""Scale, eviction, binding, token, reviews: verbs that speak of another kind than the resource."""
