"""`rivega store`: what an answer store holds, and its answers as JSON lines, out and in."""

import argparse
import sys
from pathlib import Path

NAME = "store"
HELP = "Count, export or import the answers in an answer store."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    stats = actions.add_parser("stats", help="answers and tokens by model and prompt")
    stats.add_argument("store", type=Path, help="the answer store")
    export = actions.add_parser("export", help="write the answers as JSON lines, to travel with a data set")
    export.add_argument("store", type=Path, help="the answer store")
    export.add_argument("out", type=Path, help="the JSON lines")
    export.add_argument("--source", default=None, help="only the answers of this model")
    take = actions.add_parser("import", help="take over answers that were exported")
    take.add_argument("store", type=Path, help="the answer store; made where there is none")
    take.add_argument("lines", type=Path, help="the JSON lines (.gz is read as it is)")


def run(args: argparse.Namespace) -> int:
    """RETURNS (int): 0, or 1 where lines were refused."""
    from ..llm.store import AnswerStore
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_input, check_output

    if args.action != "import" and not args.store.is_file():
        raise RivegaError(Errors.E020.format(path=args.store))
    if args.action == "export":
        check_output(args.out, inputs=[args.store])
    if args.action == "import":
        check_input(args.lines)
    store = AnswerStore(args.store)
    try:
        if args.action == "stats":
            rows = store.stats()
            for row in rows:
                sys.stdout.write(
                    "{model}\t{prompt}\t{answers} answers\t{input_tokens} tokens in\t{output_tokens} out\n".format(**row)
                )
            sys.stdout.write(f"{sum(row['answers'] for row in rows)} answers in {args.store}\n")
            return 0
        if args.action == "export":
            count = store.export(args.out, model=args.source)
            sys.stdout.write(f"{count} answers -> {args.out}\n")
            return 0
        new, known, wrong = store.import_file(args.lines)
        for line in wrong:
            sys.stderr.write(line + "\n")
        sys.stdout.write(f"{new} answers taken over, {known} were there already, {len(wrong)} lines refused\n")
        return 1 if wrong else 0
    finally:
        store.close()
