"""ALBEF for visual entailment: our own compact port, in the layout of the released checkpoints.

Li et al., "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation", NeurIPS 2021.
"""
