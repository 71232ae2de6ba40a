"""The page: a file a tab, shared parts once."""
