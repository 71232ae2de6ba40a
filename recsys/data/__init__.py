"""Interactions as sequences, splits and batches: read, made up, made longer."""
