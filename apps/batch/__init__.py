"""Looks and subjects of many users: a stream of work through one process, or through Ray's."""
