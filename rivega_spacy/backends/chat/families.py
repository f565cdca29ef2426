"""In which coordinates families of vision-language models answer."""

import re

from ...llm.base import LanguageModel
from ...post.errors import Errors, RivegaError

# Pattern of the model's name -> convention, the first that fits; from what their makers say (docs/backends.md names where), not tried on the
# models themselves, so a config's own `convention` comes first. Qwen2-VL, Qwen3-VL and InternVL write 0..1000, Qwen2.5-VL pixels of the picture
# it sees, Gemini [y1, x1, y2, x2] of 0..1000. Of Gemma 3 its makers say that no format is documented: it is not among them.
FAMILIES = {
    r"qwen-?2[._]5-?vl": "absolute",
    r"qwen-?2-?vl|qwen-?3(?:[._]\d+)?-?vl": "thousand",
    r"internvl": "thousand",
    r"gemini": "thousand_yx",
}


def convention_of(client: LanguageModel) -> str:
    """The convention of a client's model, by its name.

    client (LanguageModel): For example `rivega.OpenAIChat.v1` with `model = "Qwen/Qwen3-VL-8B-Instruct"`.
    RETURNS (str): A convention of `rivega.ChatGrounder.v1`.
    RAISES (RivegaError): E904 for a model of another family.
    """
    identity = client.identity()
    name = str(identity.get("model") or identity.get("name") or client.name)
    for pattern, convention in FAMILIES.items():
        if re.search(pattern, name.lower()):
            return convention
    raise RivegaError(Errors.E904.format(name=name, known="Qwen2-VL, Qwen2.5-VL, Qwen3-VL, InternVL, Gemini"))


__all__ = ["FAMILIES", "convention_of"]
