"""`personagen serve`: rankings at once, pictures and trainings as jobs, over HTTP."""
