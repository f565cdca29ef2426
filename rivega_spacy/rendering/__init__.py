"""What a person sees: pages (html.py) and pictures (overlay.py) of annotated posts."""

from .html import render_posts
from .overlay import render_overlay

__all__ = ["render_overlay", "render_posts"]
