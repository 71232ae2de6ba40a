"""Training pictures and pairs: read, written, and drawn from."""
