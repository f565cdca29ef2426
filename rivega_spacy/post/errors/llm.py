"""Language models, their servers and the store of answers."""

from .messages import Messages


class LLMMessages(Messages):
    """Language models, their servers and the store of answers."""

    E402 = "the budget is used up: {spent}. Raise it in the config and run again; every answer so far is kept"
    E403 = (
        "The environment variable {name} is not set, and the server at {url} needs a key. Set it in the shell that starts this "
        "program; keys are never read from a config"
    )
    E404 = (
        "`api_key_env` must be the NAME of an environment variable, such as OPENAI_API_KEY. What the config has is not a name; if it "
        "is the key itself, take it out of the file and make a new key."
    )
    E405 = "`{field}` holds credentials. Take them out of the config; the key comes from the environment variable {name}."
    E406 = "the server refused the key or the model ({reason}); nothing more is asked of it in this run"
    E407 = "the server said {status}: {reason}"
    E408 = "{tries} tries failed, the last one with: {reason}"
    E409 = "the package {package} is not installed: `pip install 'rivega_spacy[llm]'`"
    E410 = "The answer store {path} cannot be opened: {reason}. Is it a file made by rivega_spacy, in a folder that can be written?"
    E411 = "{path} is an SQLite file of something else, not an answer store. Give another path."
    E412 = "The answer store {path} has layout {found}; this version reads up to {known}. Update rivega_spacy."
    E413 = "{path}, line {line}: not a recorded answer ({reason})."
    E414 = "no answer is recorded for this question"
    E415 = "The prompt file {path} {reason}. See rivega_spacy/llm/prompts/ for the form."
    E416 = "`{field}` is {value!r}; it must be {wanted}."
    E417 = "the weights in {path} cannot be loaded: {reason}"
    E418 = "{model} takes no pictures, and {what} needs one. Choose a vision-language model."
    E739 = "The answer is not a JSON list of boxes ({reason}): {answer!r}."
    E741 = "{model} gave no usable answer to {count} questions about pictures: {reason}. Ask again later, or use another model."
    E764 = (
        "the length limit cut it within its thought, before any answer. Raise `max_tokens` (thoughts count too), or turn the model's "
        "thinking off"
    )
    E765 = "it is thought without an answer. Turn the model's thinking off, or have the server take thoughts out (its reasoning parser)"
    E766 = "it speaks of marks of thought in a way that cannot be told from thought"
    E767 = "cut by the length limit: {answer!r}. Raise `max_tokens`"
    E768 = "the model refused to answer{words}"
    E769 = "the server's content filter withheld the answer"
    E770 = "it called a tool instead of answering. Take the tools out of `extra`, or turn them off at the server"
    E771 = "its reply has more than {limit} bytes, which no answer of {tokens} tokens needs; the rest of it was not read"
    E772 = (
        "its reply was not complete after {seconds:g} seconds, though bytes kept coming. Raise `total_timeout` if it is only slow"
    )
    E773 = (
        "it redirects to {target}, which is not followed: posts and key would go where the config does not say. If that is the right "
        "server, name it in `base_url`"
    )
    E774 = "its reply is encoded as {encoding!r}, which was not asked for"
    E775 = (
        "The config would send the environment variable {name} as key to {host}. Only well-known names of keys (OPENAI_API_KEY, "
        "RIVEGA_API_KEY ...) may be named together with a server of the config's own. If you trust this config, say so in the "
        "environment: RIVEGA_KEY_CONSENT={name}@{host}"
    )
    E776 = (
        "the key in {name} was not sent to {host}, because it belongs to another server. If it is meant for this one, say so in the "
        "environment: RIVEGA_KEY_CONSENT={name}@{host}"
    )


__all__ = ["LLMMessages"]
