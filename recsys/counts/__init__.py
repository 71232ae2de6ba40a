"""What counts and texts say of the next item, and how opinions are weighed."""
