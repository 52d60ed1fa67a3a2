"""The dvc of this project's environment: python -m scripts.dvc_command, or `make setup`, writes .venv/bin/dvc.

It is DVC's own command but for two things: it parses each YAML file once (scripts/parsed_once.py), and `dvc exp show`
without options for columns has those that a comparison needs.
"""

import sys
from functools import partial
from pathlib import Path

from hrrl.files import replacing

COMMAND = """#!{python}
# DVC's command, in the place of pip's (scripts/dvc_command.py).
import sys

sys.path.insert(0, {root!r})
try:
    from scripts import dvc_command
except ImportError:  # of another state of the project
    pass
else:
    sys.argv[1:] = dvc_command.prepared(sys.argv[1:])
del sys.path[0]
from dvc.cli import main

sys.exit(main())
"""
SHOW = [["exp", "show"], ["experiments", "show"]]
COLUMNS = ("--only-changed", "--keep", "--drop", "--param-deps", "--csv", "--json", "--md")


def main() -> None:
    command, root = Path(sys.executable).with_name("dvc"), Path(__file__).resolve().parent.parent
    if Path(sys.prefix).resolve().parent != root:
        return  # another project's environment
    if command.read_text() != (text := COMMAND.format(python=sys.executable, root=str(root))):
        with replacing(command) as temporary:
            temporary.write_text(text)
            temporary.chmod(0o755)


def prepared(arguments: list[str]) -> list[str]:
    """The arguments for DVC's command, in a process that parses once.

    Of some 300 columns `dvc exp show` would print "...": without options for columns it shows the params that differ
    between its rows, and the scores.
    """
    from scripts import parsed_once

    parsed_once.speed_up()
    if arguments[:2] not in SHOW or any(word.partition("=")[0] in COLUMNS for word in arguments):
        return arguments
    from dvc.repo.experiments import show

    show.tabulate = partial(compared, show.tabulate)
    return arguments


def compared(tabulate, *args, **kwargs):
    """DVC's table of experiments: params that differ before scores, as a narrow terminal loses what is to the right."""
    table, headers = tabulate(*args, **kwargs)
    params, scores, hashes = (list(headers[kind]) for kind in ("params", "metrics", "deps"))
    first = [column for column in table.keys() if column not in {*params, *scores, *hashes}]  # noqa: SIM118
    table.project(*first, *params, *scores)
    table.protect(*first, *scores)
    table.drop_duplicates("cols", ignore_empty=False)
    table.unprotect(*first)  # DVC drops some of them
    return table, {"params": [name for name in params if name in table.keys()], "metrics": scores}  # noqa: SIM118


if __name__ == "__main__":
    main()
