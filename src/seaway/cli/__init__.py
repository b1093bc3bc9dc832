"""The command line: a file per verb, loaded on use."""
