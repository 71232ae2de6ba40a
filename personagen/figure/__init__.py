"""A person, dressed, as a figure that can be turned: body, garments as layers, one texture, a skeleton."""
