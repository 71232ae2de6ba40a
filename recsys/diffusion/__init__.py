"""Noise and how it is taken away again: schedules, processes, samplers, guidance."""
