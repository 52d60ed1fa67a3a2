"""Reads a params file as data: whatever it holds, plain values come out, or one line that says what is wrong."""

import unicodedata
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.reader import ReaderError

from hrrl.common.names import composed
from hrrl.errors import UserError

BYTES = 1_000_000  # of a file: thousands of classes with their synsets
DEPTH = 100  # of its nesting: the deepest key of the schema is six levels down
VALUES = 100_000  # of its content with every alias written out
FILES = {"root", "csv", "file", "model"}  # keys whose values are names of files
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's categories of what ends or spoils a line: names are shown in lines


def read(path: str | Path, like: str = "one of presets/*.yaml") -> dict[str, Any]:
    """The content of a YAML 1.2 file, as DVC reads it, but with all accents composed, except of names of files.

    Args:
        like: what a user can copy to it.

    Raises:
        UserError: it is not there, not UTF-8, not YAML, no mapping, longer than a params file can be, holds a control
            character or an alias of itself, or grows beyond bounds as its aliases are written out.
    """
    path = Path(path)
    text = _text(path, like)
    try:
        yaml = YAML(typ="safe", pure=True)  # the C parser crashes on what nests too deep
        root = yaml.compose(text)
        if not isinstance(root, MappingNode):
            raise UserError(f"{path}: holds no keys; copy {like} to it")
        _count(root, path, {}, {})
        return _composed(yaml.constructor.construct_document(root))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{path}: the character {chr(error.character)!r} in line {line} is none of a text") from None
    except MarkedYAMLError as error:
        where = error.problem_mark.line + 1 if error.problem_mark else "?"
        problem = f"{cut(error.problem or 'unreadable')} in line {where}"
        raise UserError(f"{path}: not YAML, {problem}{_odd_space(text)}") from None
    except RecursionError:
        raise _too_deep(path) from None
    except (YAMLError, ValueError, LookupError) as error:  # the latter two: a date or number that is none
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not YAML, {cut(str(error))}") from None


def _odd_space(text: str) -> str:
    """Says where a space is that YAML takes for a letter, as web pages have; nobody sees it."""
    spaces = [i for i, c in enumerate(text) if c != " " and unicodedata.category(c) == "Zs"]
    return f"; line {text.count(chr(10), 0, spaces[0]) + 1} has a space that is none to YAML" if spaces else ""


def _composed(value: Any) -> Any:
    """A value with its texts as hrrl.common.names has them; a file's name is what the file system has."""
    if isinstance(value, dict):
        return {_composed(key): item if key in FILES else _composed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_composed(item) for item in value]
    return composed(value) if isinstance(value, str) else value


def shown(value: Any) -> str:
    """A value as a message shows it: the beginning of its representation."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a {type(value).__name__} too large to print"


def cut(text: str, most: int = 160) -> str:
    """The beginning of a text, in one line."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}..."


def _text(path: Path, like: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy {like} to it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); copy {like} to it") from None
    if len(content) > BYTES:
        raise UserError(f"{path}: longer than {BYTES:,} bytes, which no params file is")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: not UTF-8 (byte {content[error.start]:#04x} in line {line}); save it as UTF-8"
        ) from None


def _too_deep(path: Path) -> UserError:
    return UserError(f"{path}: nested too deep; the deepest key of a params file is six levels down")


def _count(node: Any, path: Path, counts: dict[int, int], open_nodes: dict[int, Any]) -> int:
    """How many values a node stands for, every alias written out; refuses what no params file holds."""
    if id(node) in counts:
        return counts[id(node)]
    line = node.start_mark.line + 1
    if isinstance(node, ScalarNode):
        if bad := [c for c in node.value if unicodedata.category(c) in UNPRINTABLE]:
            raise UserError(f"{path}: the text in line {line} holds {bad[0]!r}; no setting takes a control character")
        return 1
    if id(node) in open_nodes:
        raise UserError(f"{path}: the alias in line {line} contains itself; write the values out")
    if len(open_nodes) == DEPTH:
        raise _too_deep(path)
    open_nodes[id(node)] = node
    pairs = isinstance(node, MappingNode)
    children = [child for pair in node.value for child in pair] if pairs else node.value
    total = 1 + sum(_count(child, path, counts, open_nodes) for child in children)
    del open_nodes[id(node)]
    if total > VALUES:
        raise UserError(f"{path}: more than {VALUES:,} values with the aliases below line {line} written out")
    counts[id(node)] = total
    return total
