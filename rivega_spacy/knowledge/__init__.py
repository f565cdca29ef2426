"""Stage 1a: what a language model makes of a post before the tagger sees it (paper, section IV-B b and c)."""
