"""Geometry and pixels before any diffusion: the old garment off, the new one laid on."""
