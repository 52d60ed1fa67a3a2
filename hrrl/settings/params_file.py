"""Reads a params file as data: whatever it holds, the result is plain values or one line that says what is wrong."""

import itertools
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from hrrl.common.names import composed
from hrrl.errors import UserError

VALUES = 100_000  # thousands of classes with their synsets are fewer
FILES = {"root", "csv", "file", "model"}  # keys whose values are names of files
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of what ends or spoils a line: names are shown in lines

TOO_MANY = f"holds more than {VALUES:,} values, aliases and merges written out; no params file does"


class _Bounded(SafeConstructor):
    """Bounds merges (``<<``): a list of two doubles what it merges, and so may the next."""

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)
        if len(node.value) > VALUES:
            raise UserError(TOO_MANY)


def read(path: str | Path, like: str = "one of presets/*.yaml") -> dict[str, Any]:
    """The content of a YAML 1.2 file, as DVC reads it, but with all accents composed, except of names of files.

    Args:
        like: what a user can copy to it.

    Raises:
        UserError: it does not exist, is not UTF-8, not YAML or no mapping, or holds a control character, or aliases
            or merges without end.
    """
    path = Path(path)
    text = _text(path, like)
    try:
        content = _composed(_parsed(text), itertools.count())
    except ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        character = chr(error.character)
        raise UserError(f"{path}: the character {character!r} in line {line_number} is none of a text") from None
    except MarkedYAMLError as error:
        marked_line = error.problem_mark.line + 1 if error.problem_mark else "?"
        problem = f"{cut(error.problem or 'unreadable')} in line {marked_line}"
        raise UserError(f"{path}: not YAML, {problem}{_odd_space(text)}") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deep; the deepest key of a params file is six levels down") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (YAMLError, ValueError, LookupError) as error:  # the latter two: an invalid date or number
        raise UserError(f"{path}: not YAML, {cut(str(error))}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no keys; copy {like} to it")
    return content


@cache
def _parsed(text: str) -> Any:
    """The content of a YAML text; cached, as a stage reads params.yaml three times and the pure parser is slow."""
    yaml = YAML(typ="safe", pure=True)  # the C parser crashes on deep nesting
    yaml.Constructor = _Bounded
    return yaml.load(text)


def _odd_space(text: str) -> str:
    """Names the line of a non-ASCII space, as web pages have: YAML takes it for a letter, and nobody sees it."""
    positions = [i for i, c in enumerate(text) if c != " " and unicodedata.category(c) == "Zs"]
    return f"; line {text.count(chr(10), 0, positions[0]) + 1} has a space that is none to YAML" if positions else ""


def _composed(value: Any, counter: Iterator[int], is_file_name: bool = False) -> Any:
    """A value with the accents of its texts composed; the name of a file stays as the file system has it.

    Args:
        counter: counts the values written out, as aliases of aliases can be without end.
    """
    if next(counter) > VALUES:
        raise UserError(TOO_MANY)
    if isinstance(value, dict):
        return {_composed(key, counter): _composed(item, counter, key in FILES) for key, item in value.items()}
    if isinstance(value, list):
        return [_composed(item, counter) for item in value]
    if not isinstance(value, str):
        return value
    if unprintable := [c for c in value if unicodedata.category(c) in UNPRINTABLE]:
        raise UserError(f"the text {shown(value)} holds {unprintable[0]!r}; no setting takes a control character")
    return value if is_file_name else composed(value)


def shown(value: Any) -> str:
    """A value as a message shows it: the beginning of its representation."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a {type(value).__name__} too large to print"


def cut(text: str) -> str:
    """The beginning of a text, in one line."""
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:160]}..."


def _text(path: Path, like: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy {like} to it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); copy {like} to it") from None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        byte, line_number = content[error.start], content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: not UTF-8 (byte {byte:#04x} in line {line_number}); save it as UTF-8") from None
