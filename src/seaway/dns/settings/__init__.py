"""Configuration files: a Corefile or a TOML file becomes one DnsConfig, or one error with file and line."""
