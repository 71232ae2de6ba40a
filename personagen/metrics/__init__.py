"""Measure pictures: fidelity, colours, distances in features, try-on."""
