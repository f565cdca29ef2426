"""Recipes for configs."""

from .messages import Messages


class RecipesMessages(Messages):
    """Recipes for configs."""

    E540 = "There is no recipe {name!r}. Use one of: {known}."
    E541 = "`--{option}` cannot be {value!r}. Use one of: {known}."
    E542 = "`--{option}` has no effect on the part {part!r} with the backend {backend!r}. Leave it out, or choose another part or backend."
    E543 = "{path} exists. Name another file, or overwrite it with `--force`."


__all__ = ["RecipesMessages"]
