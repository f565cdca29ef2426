"""Stage 0: what a picture shows, in words: a line for the knowledge prompt, a paragraph for the expansion prompt."""
