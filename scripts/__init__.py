"""What make and users call beside DVC, run from the project's root: python -m scripts.relist"""

import getpass
import os
import tempfile

from hrrl.errors import escape_what_stdout_lacks


def be_somebody() -> None:
    """Gives a user of a container, who has no line in /etc/passwd, the name and the home that DVC and torch ask for."""
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = tempfile.gettempdir()
    try:
        getpass.getuser()
    except (KeyError, OSError):  # the latter from Python 3.13 on
        os.environ["USER"] = f"user{os.getuid()}"


be_somebody()
escape_what_stdout_lacks()
