"""What differs between the versions of other libraries that this package runs with: transformers 4.49 to 5.x, spacy-transformers.

Nothing else of the package asks for a version. Installed versions are read from the packages' metadata, which costs no import.
"""

import copy
import importlib.util
from functools import cache
from typing import Any

from .errors import Errors, SetupError


@cache
def installed(package: str) -> tuple[int, ...]:
    """The version of an installed package as numbers, (4, 53, 2); () if it is not installed.

    package (str): Its name in the package index.
    """
    # Imported here: `rivega --help` needs none of it.
    from importlib import metadata

    try:
        text = metadata.version(package)
    except metadata.PackageNotFoundError:
        return ()
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def spacy_transformers_fits() -> bool:
    """Whether spacy-transformers is installed and can be imported beside the installed transformers.

    Before version 2 it imports a name that transformers 5 moved.
    """
    if importlib.util.find_spec("spacy_transformers") is None:
        return False
    return not (installed("spacy-transformers") < (2,) and installed("transformers") >= (5,))


def set_aside_spacy_transformers() -> None:
    """Let spaCy look past the entry points of a spacy-transformers that cannot be imported; else they would take every pipeline down.

    Does nothing if it fits, or is not installed. `rivega_transformer` then stands in for it (ner/shared_encoder).
    """
    if spacy_transformers_fits():
        return
    import catalogue

    points = catalogue.AVAILABLE_ENTRY_POINTS
    # A dict of lists before Python 3.12's form, and where catalogue brings its own copy of importlib.metadata.
    if isinstance(points, dict):
        for group, found in points.items():
            points[group] = type(found)(point for point in found if not _is_of_spacy_transformers(point))
    else:
        catalogue.AVAILABLE_ENTRY_POINTS = type(points)(point for point in points if not _is_of_spacy_transformers(point))


def _is_of_spacy_transformers(point: Any) -> bool:
    return str(point.value).startswith("spacy_transformers")


def hub_class(name: str, since: str) -> Any:
    """A class of transformers that not every version has.

    name (str): For example "Sam2Model". since (str): The version that brought it.
    RAISES (SetupError): E900 if the installed transformers lacks it.
    """
    import transformers

    try:
        return getattr(transformers, name)
    except (AttributeError, ImportError):
        raise SetupError(Errors.E900.format(name=name, since=since, found=transformers.__version__)) from None


def features(output: Any) -> Any:
    """The tensor that `get_text_features` and its like give: itself before transformers 5, since then within an output."""
    return output if hasattr(output, "shape") else output.pooler_output


def picklable(network: Any) -> Any:
    """A network as worker processes can get it: without the hooks that transformers 5 puts on layers, which cannot be pickled.

    network (Optional[Module]): Left as it is.
    RETURNS (Optional[Module]): It, where it has no such hooks; else a copy that shares its tensors. Hooks come again when it is called.
    """
    marked = [module for module in network.modules() if getattr(module, _HOOKED, False)] if network is not None else []
    if not marked:
        return network
    tensors = [*network.parameters(), *network.buffers()]
    copied = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    for module in copied.modules():
        for key, hook in list(module._forward_hooks.items()):
            if getattr(hook, "__module__", "") == "transformers.utils.output_capturing":
                del module._forward_hooks[key]
        if getattr(module, _HOOKED, False):
            setattr(module, _HOOKED, False)
    return copied


# How transformers 5 marks a network that has them.
_HOOKED = "_output_capturing_hooks_installed"

__all__ = ["features", "hub_class", "installed", "picklable", "set_aside_spacy_transformers", "spacy_transformers_fits"]
