"""A parametric studio that needs nothing from outside: bodies, garments, scenes, and shoppers with a taste."""
