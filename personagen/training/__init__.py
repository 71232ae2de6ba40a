"""The training loop and its parts, for every stage and for subjects."""
