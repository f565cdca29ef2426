"""The command line."""

from .messages import Messages


class CLIMessages(Messages):
    """The command line."""

    E501 = "The demo's posts are not at {path}. Run the command in a checkout of the project, or name a file with `--posts`."
    E538 = "`--set` takes SECTION.NAME=VALUE, not {value!r}. Give section, name and value."
    E623 = "`--image-prefix` has no effect on the format {form!r}. Leave it out, or choose label-studio."
    E723 = "{path} does not end in .safetensors. Give a name that does."
    E724 = "There is no network {network!r}. Use one of: {known}."
    E742 = "The pipeline {model} has no component {component!r}, only {names}. Name the entailment component with `--component`."
    E814 = "`{option}` has no effect without `--queue`. Name the file of posts to correct, or leave the option out."
    E852 = "The inputs lie in several folders ({folders}), so it is not known where their pictures are. Name their folder with `--images`."
    E862 = "`{option}` works on one file, but `--predictions` names {count}. Give it with one of them."
    E865 = "None of the {count} posts of {path} has a picture that can be read. Give the folder of pictures with `--images`."


__all__ = ["CLIMessages"]
