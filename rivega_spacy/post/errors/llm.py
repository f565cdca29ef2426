"""Language models, their servers and the store of answers."""

from .messages import Messages


class LLMMessages(Messages):
    """Language models, their servers and the store of answers."""

    E402 = "the budget is used up: {spent}. Raise it in the config and run again; all answers so far are kept"
    E403 = (
        "The environment variable {name} is not set, and the server at {url} needs a key. Set it in the shell that starts this "
        "program; keys are never read from a config"
    )
    E404 = (
        "`api_key_env` is not the NAME of an environment variable, such as OPENAI_API_KEY. Give the name; if the config has "
        "the key itself, remove it from the file and make a new key."
    )
    E405 = "`{field}` contains credentials. Remove them from the config; the key is read from the environment variable {name}."
    E406 = "the server refused the key or the model ({reason}); correct them and run again: this run sends it no more questions"
    E407 = "the server answered {status}: {reason}; if that is temporary, run again"
    E408 = "{tries} attempts failed, the last one with: {reason}; run again later"
    E409 = "the package {package} is not installed. Run `pip install 'rivega_spacy[llm]'`"
    E410 = (
        "The answer store {path} cannot be opened: {reason}. Check that rivega_spacy made the file and that its folder can be "
        "written."
    )
    E411 = "{path} is an SQLite file, but not an answer store. Give another path."
    E412 = "The answer store {path} has layout {found}, and this version reads up to {known}. Update rivega_spacy."
    E413 = "{path}, line {line}: not a recorded answer ({reason}). Remove the line, or record the answers again."
    E414 = "no answer is recorded for this question; record it first, with the model itself"
    E415 = "The prompt file {path} {reason}. The files in rivega_spacy/llm/prompts/ show the form."
    E416 = "`{field}` is {value!r}; it must be {wanted}. Correct the config or the call."
    E417 = "the weights in {path} cannot be loaded: {reason}; download them again"
    E418 = "{model} cannot read pictures, and {what} needs one that can. Choose a vision-language model."
    E739 = "The answer is not a JSON list of boxes ({reason}): {answer!r}. Use a model that follows the prompt."
    E741 = "{model} gave no usable answer to {count} questions about pictures: {reason}. Ask again later, or use another model."
    E764 = (
        "the length limit cut it off while it was thinking, before any answer. Raise `max_tokens` (thoughts count too), or "
        "turn the model's thinking off"
    )
    E765 = (
        "it contains thoughts but no answer. Turn the model's thinking off, or let the server remove thoughts (its reasoning "
        "parser)"
    )
    E766 = "it contains marks of thoughts that cannot be told apart from the answer. Turn the model's thinking off"
    E767 = "cut off by the length limit: {answer!r}. Raise `max_tokens`"
    E768 = "the model refused to answer{words}; use another model, or do without this answer"
    E769 = "the server's content filter withheld the answer; use another model, or do without this answer"
    E770 = "it called a tool instead of answering. Remove the tools from `extra`, or turn them off at the server"
    E771 = (
        "its reply has more than {limit} bytes, far more than an answer of {tokens} tokens, and the rest was not read. Check "
        "which server `base_url` names"
    )
    E772 = "its reply was still incomplete after {seconds:g} seconds. Raise `total_timeout` if the server is merely slow"
    E773 = (
        "it redirects to {target}, which is not followed, because posts and key would go to a server that the config does not "
        "name. If it is the right one, name it in `base_url`"
    )
    E774 = "its reply is encoded as {encoding!r}, which was not asked for. Correct the server or the proxy before it"
    E775 = (
        "The config would send the environment variable {name} as a key to {host}. Only well-known key names (OPENAI_API_KEY, "
        "RIVEGA_API_KEY ...) may be combined with a server that the config names. If you trust this config, set in the "
        "environment: RIVEGA_KEY_CONSENT={name}@{host}"
    )
    E776 = (
        "the key in {name} was not sent to {host}, because it belongs to another server. If it is meant for this one, set in "
        "the environment: RIVEGA_KEY_CONSENT={name}@{host}"
    )
    E849 = "`{option}` has no effect {where}. Leave it out, or {remedy}."
    E972 = (
        "{who} has been asking this question and has kept no answer in {path} for {minutes:g} minutes. End that process if it hangs, then run "
        "again"
    )


__all__ = ["LLMMessages"]
