"""The seam: from a user's history to pictures made for that user."""
