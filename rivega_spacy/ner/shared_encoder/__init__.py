"""One encoder for several components, without spacy-transformers: `rivega_transformer` and its listener.

spaCy's own way to share an encoder is the package spacy-transformers, and where that fits the installed transformers it is used. Where it
is missing or too old, what is here takes its names (`transformer`, `spacy-transformers.TransformerListener.v1`), with the same config and the
same saved format, as far as pipelines with `rivega.KnowledgeTransformerModel.v1` need them.
"""
