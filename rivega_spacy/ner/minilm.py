"""`rivega.minilm_path.v1`: the default encoder of the tagger's config."""

from collections.abc import Callable

from ..backends.minilm import find_minilm


def minilm_path() -> Callable[[], str]:
    """Finds the MiniLM encoder's folder when `initialize` asks for it.

    RETURNS (Callable[[], str]): `find_minilm`. The search waits because a config is also resolved to load a trained
        pipeline, which has its weights and needs no package.
    """
    return find_minilm
