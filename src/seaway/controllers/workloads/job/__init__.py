"""Jobs: Pods that end, until enough have ended well."""
