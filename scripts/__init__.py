"""What make and users call beside DVC, run from the project's root: python -m scripts.relist"""

import getpass
import os
import sys
import tempfile
from pathlib import Path

from hrrl.errors import UserError, escape_what_stdout_lacks

ROOT = Path(__file__).resolve().parent.parent


def run(main, *arguments: str) -> None:
    """Calls the main function of a script; what the user can mend is one line."""
    try:
        sys.exit(main(*arguments))
    except BrokenPipeError:  # `| head` has read enough; Python would say so again as it flushes what is left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, OSError) as error:
        sys.exit(str(error))


def say_what_is_missing(kind, error, traceback) -> None:
    """Shows the error that ends a script: of a library that this Python lacks, as outside of .venv, one line."""
    if kind is ModuleNotFoundError and not (ROOT / str(error.name).partition(".")[0]).is_dir():
        print(f"{sys.executable}: {error}; run `make setup`, and then this by .venv/bin/python", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def be_somebody() -> None:
    """Gives a user of a container, who has no line in /etc/passwd, the name and the home that DVC and torch ask for."""
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = tempfile.gettempdir()
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the latter from Python 3.13 on
        os.environ["USER"] = f"user{os.getuid()}"


def be_in_this_clone() -> None:
    """Unsets what git sets for its hooks and DVC for its stages: it may name another repository or stage."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_STAGE"):
        os.environ.pop(name, None)


sys.excepthook = say_what_is_missing
be_somebody()
be_in_this_clone()
os.environ["SHELL"] = "/bin/sh"  # by which DVC calls cells: a user's own may be nologin, or find another Python
escape_what_stdout_lacks()
