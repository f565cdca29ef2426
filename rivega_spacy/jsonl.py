"""JSON lines, read one at a time; a line that is none does not end the file."""
import gzip
import json
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple, Union

from .errors import Errors, RivegaError


def read_lines(path: Union[str, Path]) -> Iterator[Tuple[int, Union[Dict[str, Any], str]]]:
    """Objects of a JSON lines file.

    path (Union[str, Path]): UTF-8, gzipped where the name ends in .gz; empty lines are skipped.
    YIELDS (Tuple[int, Union[Dict[str, Any], str]]): The line's number with its object, or with what is wrong with it.
    RAISES (RivegaError): E020 where there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                yield number, str(error)
                continue
            yield number, value if isinstance(value, dict) else f"it is a {type(value).__name__}"
