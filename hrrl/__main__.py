"""The command ``hrrl``: ``score`` judges a model on images, ``push`` sends a model's folder to a hub."""

import argparse
import sys

from hrrl.errors import UserError, escape_what_stdout_lacks


def main() -> None:
    try:
        from hrrl import push, score
    except ModuleNotFoundError as error:
        sys.exit(f"hrrl needs {(error.name or '').partition('.')[0]}: pip install 'hrrl[pipeline]'")
    parser = argparse.ArgumentParser("hrrl", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for module, function in ((score, score.score), (push, push.push)):
        command = commands.add_parser(module.__name__.rpartition(".")[2], description=module.__doc__)
        module.arguments(command)
        command.set_defaults(function=function)
    escape_what_stdout_lacks()
    args = parser.parse_args()
    try:
        args.function(args)
    except (UserError, OSError, FloatingPointError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
