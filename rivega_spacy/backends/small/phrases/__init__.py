"""Referring expressions for kinds of things: what a language model or the offline expander would call them."""
