"""`rivega serve`: a pipeline as an HTTP API, and as a page in the browser where posts are looked at and corrected."""
