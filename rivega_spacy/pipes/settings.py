"""Settings of components: the config alone decides them, whatever was saved with the weights.

`nlp.config` is what `nlp.to_disk` writes and what `spacy.load(config=...)` changes. A component that kept settings of its own beside
it would silently win over both. So components save what the weights depend on and nothing else, and `configure` changes a setting in
the component and in the config at once.
"""

import warnings
from collections.abc import Iterable
from typing import Any

from spacy.language import Language

from ..post.errors import Errors, RivegaError


class Configured:
    """Mixin of components with settings.

    settings (Tuple[str, ...]): Names of the settings that may change at run time; each is an entry of `cfg` or an attribute.
    fractions (Tuple[str, ...]): Those of them that must lie between 0 and 1.
    positive (Tuple[str, ...]): Those that must be numbers above 0, if they are set at all.
    """

    name: str
    cfg: dict[str, Any]
    settings: tuple[str, ...] = ()
    fractions: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()

    def setting(self, name: str) -> Any:
        """The value of a setting."""
        return self.cfg[name] if name in self.cfg else getattr(self, name)

    def set_setting(self, name: str, value: Any) -> None:
        """Change a setting of the component alone; see `configure`. RAISES (RivegaError): E082, E208, E416."""
        if name not in self.settings:
            raise RivegaError(Errors.E082.format(name=self.name, option=name, known=", ".join(self.settings) or "none"))
        if name in self.fractions and value is not None and not (isinstance(value, (int, float)) and 0.0 <= value <= 1.0):
            raise RivegaError(Errors.E208.format(option=name, value=value))
        if name in self.positive and value is not None and not (isinstance(value, (int, float)) and 0.0 < value < float("inf")):
            raise RivegaError(Errors.E416.format(field=name, value=value, wanted="a positive number"))
        if name in self.cfg:
            self.cfg[name] = value
        else:
            setattr(self, name, value)

    def remember_settings(self) -> None:
        """The settings are now those of the config: at the end of `__init__`, and in `configure`."""
        for name in (*self.fractions, *self.positive):
            self.set_setting(name, self.setting(name))
        self._configured: dict[str, Any] = {name: self.setting(name) for name in self.settings}

    def tell_unsaved_settings(self) -> None:
        """Warn of settings that were changed in the component and not in the config, which alone is saved."""
        changed = [name for name, value in self._configured.items() if self.setting(name) != value]
        if changed:
            options = ", ".join(f"{name}={self.setting(name)!r}" for name in changed)
            warnings.warn(Errors.W083.format(name=self.name, options=options), stacklevel=2)


class ConfiguredAlone(Configured):
    """Configured, for components of which the config says everything: nothing else is saved."""

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Nothing, but for a warning of settings that the config does not have."""
        self.tell_unsaved_settings()
        return b""

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        """The same component."""
        return self

    def to_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> None:
        """As `to_bytes`."""
        self.tell_unsaved_settings()

    def from_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> Any:
        """The same component."""
        return self


class ConfiguredWeights(Configured):
    """Configured, for trainable components: weights are saved, settings are not.

    It is mixed into spaCy's TrainablePipe, whose methods `super()` finds.

    saves_cfg (bool): Whether `cfg` holds what belongs to the weights, such as labels, and is saved with them.
    """

    saves_cfg: bool = False

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """As spaCy's own; settings are the config's."""
        self.tell_unsaved_settings()
        return super().to_bytes(exclude=self._left_out(exclude))  # type: ignore[misc]

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Any:
        """As spaCy's own; settings of older files are passed over."""
        return super().from_bytes(bytes_data, exclude=self._left_out(exclude))  # type: ignore[misc]

    def to_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> None:
        """As spaCy's own; settings are the config's."""
        self.tell_unsaved_settings()
        super().to_disk(path, exclude=self._left_out(exclude))  # type: ignore[misc]

    def from_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> Any:
        """As spaCy's own; settings of older pipelines are passed over."""
        return super().from_disk(path, exclude=self._left_out(exclude))  # type: ignore[misc]

    def _left_out(self, exclude: Iterable[str]) -> list[str]:
        return [*exclude] if self.saves_cfg else [*exclude, "cfg"]


def configure(nlp: Language, name: str, **options: Any) -> None:
    """Change settings of a component of a pipeline, in the component and in `nlp.config`, so that they are saved.

    nlp (Language): The pipeline.
    name (str): The component.
    options: For example `threshold=0.4`.
    RAISES (RivegaError): E082 for a setting that the component does not have, E208 or E416 for a value out of range.
    """
    pipe = nlp.get_pipe(name)
    config = nlp.get_pipe_config(name)
    for option, value in options.items():
        if not isinstance(pipe, Configured):
            raise RivegaError(Errors.E082.format(name=name, option=option, known="none"))
        pipe.set_setting(option, value)
        config[option] = value
        pipe.remember_settings()


__all__ = ["Configured", "ConfiguredAlone", "ConfiguredWeights", "configure"]
