"""Errors that the user can fix, and text that any terminal can print."""

import io
import sys


class UserError(ValueError):
    """Bad params or data: one or more lines that name the key or file, what is wrong and what would be right."""

    def __init__(self, *lines: str):
        super().__init__(*map(printable, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


def printable(line: str) -> str:
    """A line as a terminal can show it: line ends and control codes, which names of files may hold, are escaped."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)


def note(message: str) -> None:
    """Prints a remark that is no error to stderr."""
    print(printable(message), file=sys.stderr)


def escape_what_stdout_lacks() -> None:
    """Makes stdout escape what the locale's encoding lacks, as stderr does by default, and flush each line.

    Does nothing if stdout is closed. Only for programs of this project: a library leaves its caller's stdout alone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)


def reason(error: Exception) -> str:
    """Why a file could not be read, as the system or the reader says it, in one line."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())
