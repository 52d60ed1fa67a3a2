"""The one kind of error that is the user's to mend, and lines that any terminal shows."""

import io
import sys


class UserError(ValueError):
    """Bad params or data: a line that names the key or file, what is wrong and what would be right; or several."""

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
    """Tells the user, on stderr, what is worth knowing and no error."""
    print(printable(message), file=sys.stderr)


def escape_what_stdout_lacks() -> None:
    """Lets this program print what the locale's encoding lacks as escapes, which stderr has anyway.

    Also flushes each line, for who reads a log. Does nothing if stdout is closed. For programs of ours; a caller's own
    program keeps its stdout as it is.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)


def reason(error: Exception) -> str:
    """Why a file could not be read, by the system or by its reader, in one line."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())
