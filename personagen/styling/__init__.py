"""From a user's history to pictures made for that user."""
