"""A compact text-conditioned network: does the picture show the thing named, and where is it."""
