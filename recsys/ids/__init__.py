"""Semantic ids: items as tuples of codes."""
