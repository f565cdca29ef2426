"""SeqTR for referring expressions: our own compact port, in the layout of the released checkpoints.

Zhu et al., "SeqTR: A Simple yet Universal Network for Visual Grounding", ECCV 2022.
"""
