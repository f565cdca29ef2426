"""`rivega doctor [PIPELINE]`: what is missing for which feature, how to get it, and what would be faster."""

import json
from dataclasses import asdict
from textwrap import fill
from typing import Annotated

import typer

from .options import AsJson
from .saying import say

EXAMPLES = ("rivega doctor", "rivega doctor training/rivega_twitter", "rivega doctor --no-pipeline --json")
_MARKS = {"ok": "ok", "missing": "--", "advice": "->", "problem": "!!"}


def run(
    pipeline: Annotated[str, typer.Argument(help="Installed pipeline or folder to try on a post.")] = "rivega_twitter",
    no_pipeline: Annotated[bool, typer.Option("--no-pipeline", help="Try no pipeline.")] = False,
    as_json: AsJson = False,
) -> int:
    """Look and tell.

    RETURNS (int): 0, or 1 if there is a problem: a package that is needed is missing or does not fit, or the pipeline does not work.
        Optional features that are not there are no problem.
    """
    from ..jobs.doctor import examine
    from ..jobs.machine import read_machine

    findings = examine(read_machine(), None if no_pipeline else pipeline)
    if as_json:
        say(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    else:
        for finding in findings:
            text = f"{_MARKS[finding.state]}  {finding.about}: {finding.detail}"
            say(fill(text, 110, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False) + "\n")
            if finding.remedy:
                say(f"      {finding.remedy}\n")
        counts = {state: sum(finding.state == state for finding in findings) for state in ("problem", "missing", "advice")}
        say(
            f"{counts['problem']} problems (!!), {counts['missing']} optional features not there (--), {counts['advice']} hints (->)\n"
        )
    return 1 if any(finding.state == "problem" for finding in findings) else 0
