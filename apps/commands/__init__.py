"""The commands: each parses nothing, checks its settings, calls the library and prints."""
