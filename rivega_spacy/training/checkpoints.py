"""Training that can be stopped and go on: what `spacy train` itself does not keep.

`spacy train` saves pipelines, not the optimiser's state and its place in the schedules. With

    [training.before_update]
    @callbacks = "rivega.Checkpoints.v1"
    folder = ${paths.checkpoint}

    [training.max_steps]
    @misc = "rivega.steps_left.v1"
    total = ${system.steps}
    folder = ${paths.checkpoint}

a run writes both every so many steps, and the same command given again goes on from there. Networks in a `TorchShim` are kept;
others train on from their first weights.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from spacy.language import Language

from ..post.errors import Errors, RivegaError
from ..post.files import open_output

STATE = "state.safetensors"


def make_checkpoints(folder: str | None = None, every: int = 200) -> Callable[[Language, dict[str, Any]], None]:
    """`rivega.Checkpoints.v1`: for `[training.before_update]`.

    folder (Optional[str]): Where the state is kept; None keeps none.
    every (int): Steps between two savings.
    RETURNS (Callable): Called by spaCy before every step.
    """
    return Checkpoints(None if folder is None else Path(folder), every)


def make_steps_left(total: int, folder: str | None = None) -> int:
    """`rivega.steps_left.v1`: for `[training.max_steps]`.

    total (int): Steps of the whole training.
    folder (Optional[str]): Where the state of an earlier run may be.
    RETURNS (int): How many of them are still to do.
    RAISES (RivegaError): E261 if the training in `folder` has come to its end.
    """
    done = steps_done(folder)
    if done >= total:
        raise RivegaError(Errors.E261.format(folder=folder, done=done, total=total))
    return total - done


def steps_done(folder: str | None) -> int:
    """Steps that the training in a folder had done when it was last saved; 0 if there is none."""
    from safetensors import SafetensorError, safe_open

    path = None if folder is None else Path(folder) / STATE
    if path is None or not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as stored:
            return int(stored.metadata()["steps"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RivegaError(Errors.E730.format(path=path, what="the state of a training", reason=error)) from error


class Checkpoints:
    """Restores the state before the first step, and saves it every so many steps."""

    def __init__(self, folder: Path | None, every: int) -> None:
        self.folder = folder
        self.every = max(1, every)

    def __call__(self, nlp: Language, args: dict[str, Any]) -> None:
        if self.folder is None:
            return
        if args["step"] == 0:
            self.restore(nlp)
        elif args["step"] % self.every == 0:
            self.save(nlp)

    @property
    def state(self) -> Path:
        """The file; there is one only where there is a folder."""
        return cast(Path, self.folder) / STATE

    def restore(self, nlp: Language) -> None:
        """Take up the state in the folder, if there is one.

        RAISES (RivegaError): E260 if it belongs to a pipeline of other components; E022 of other networks; E021, E730 if it is damaged.
        """
        from ..backends.weights import read_checkpoint

        if not self.state.is_file():
            return
        stored = read_checkpoint(self.state, what="the state of a training")
        shims = dict(_shims(nlp))
        found = {name.split("/", 1)[0] for name in stored}
        if found != set(shims):
            raise RivegaError(Errors.E260.format(folder=self.folder, found=sorted(found), own=sorted(shims)))
        for key, shim in shims.items():
            shim.set_training_state(
                {name.split("/", 1)[-1]: value for name, value in stored.items() if name.split("/", 1)[0] == key}
            )
        done, steps = steps_done(str(self.folder)), max((shim.steps for shim in shims.values()), default=0)
        if done != steps:
            # The schedules are wound on by the one, and the other says how many steps are left.
            reason = f"it was saved after {done} steps, and after {steps}"
            raise RivegaError(Errors.E730.format(path=self.state, what="the state of a training", reason=reason))

    def save(self, nlp: Language) -> None:
        """Write the state; a kill while it is written leaves the one before."""
        from safetensors.torch import save

        state, steps = {}, 0
        for key, shim in _shims(nlp):
            state.update({f"{key}/{name}": value for name, value in shim.training_state().items()})
            steps = max(steps, shim.steps)
        with open_output(self.state, binary=True) as out:
            out.write(save(state, metadata={"steps": str(steps)}))


def _shims(nlp: Language) -> Iterator[tuple[str, Any]]:
    from ..backends.shim import TorchShim

    for name, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        nodes = model.walk() if model is not None and hasattr(model, "walk") else ()
        for number, shim in enumerate(shim for node in nodes for shim in node.shims):
            if isinstance(shim, TorchShim) and shim.filled:
                yield f"{name}:{number}", shim
