"""Annotated posts in the forms of other tools. Every function takes docs, as a pipeline or `read_annotated` gives them."""
