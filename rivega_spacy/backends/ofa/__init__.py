"""A port of OFA (Wang et al., 2022, arXiv 2202.03052) in plain PyTorch, which loads the published checkpoints unchanged."""
