"""Posts as a pipeline would leave them."""

from made_posts import blank, block, grey, make_post  # noqa: F401
