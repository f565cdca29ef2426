"""Stage 1c: from a named entity to a noun phrase that a vision network understands (paper, section IV-B 2)."""
