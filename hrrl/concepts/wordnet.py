"""WordNet 3.0, whose noun offsets are ImageNet's wnids, read by NLTK from wherever this machine has it."""

from __future__ import annotations  # NLTK, which has WordNetCorpusReader, takes a second to import

import functools
import io
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrrl.common.files import replacing
from hrrl.errors import UserError

if TYPE_CHECKING:
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

ROOT = Path(__file__).resolve().parents[2]
IN_CLONE = (ROOT / "pyproject.toml").is_file()  # else it is an installed package, beside which nothing is ours
if os.path.expanduser("~") == "~":  # a container's user without a home, which importing NLTK takes
    os.environ["HOME"] = str(Path(tempfile.gettempdir(), f"home-{os.getuid()}"))
PROJECT = (ROOT / "data" if IN_CLONE else Path.home() / ".cache" / "hrrl") / "wordnet"
DEBIAN = Path("/usr/share/wordnet")  # package wordnet-base

# lexnames(5WN), a file that NLTK wants and Debian leaves out: the lexicographers' files, in order.
LEXICOGRAPHER_FILES = """
adj.all adj.pert adv.all
noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition noun.communication
noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person noun.phenomenon
noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state noun.substance
noun.time
verb.body verb.change verb.cognition verb.communication verb.competition verb.consumption verb.contact
verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather
adj.ppl
"""


def lexnames() -> str:
    """The 45 lines of WordNet's file ``lexnames``: number, lexicographers' file, part of speech."""
    pos = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
    files = LEXICOGRAPHER_FILES.split()
    return "".join(f"{i:02d}\t{file}\t{pos[file.partition('.')[0]]}\n" for i, file in enumerate(files))


@functools.cache
def open_wordnet() -> WordNetCorpusReader:
    """NLTK's reader over WordNet 3.0. The first call takes 2 to 3 s, half of it the import.

    Takes the first of these that is WordNet 3.0: the folder that the environment variable WORDNET names
    (then no other is tried), data/wordnet in the project (~/.cache/hrrl/wordnet for an installed package), Debian's
    /usr/share/wordnet (package wordnet-base), NLTK's data folders (a folder or a zip), a download by NLTK into the
    first of these folders. Writes nothing but the last.

    Raises:
        UserError: none of them is there and intact; says what is wrong with each and what to install.
    """
    problems = []
    for name, find in _places().items():
        try:
            root = find()
            reader = root and _open(root)
        except Exception as error:  # whatever NLTK raises over a damaged, foreign or unreadable folder
            problems.append(f"{name}: {error}")
            continue
        if reader:
            return reader
        problems.append(f"{name}: not there")
    raise UserError(
        f"WordNet 3.0 was not found ({'; '.join(problems)}); install Debian's package wordnet-base, or run "
        "python -m nltk.downloader wordnet, or set WORDNET to a folder with its files (data.noun, ...)"
    )


def _places() -> dict[str, Callable[[], Any]]:
    """{name: function that returns the root or None}, in the order in which they are tried."""
    if "WORDNET" in os.environ:
        folder = Path(os.path.expanduser(os.environ["WORDNET"])).absolute()
        return {f"WORDNET={folder}": lambda: _first(folder, folder / "dict")}
    local = {str(folder): functools.partial(_first, folder) for folder in (PROJECT, DEBIAN)}
    return {**local, "NLTK's data folders": _nltk_data, "download": _download}


def _first(*folders: Path) -> str | None:
    return next((str(path.resolve()) for path in folders if (path / "data.noun").is_file()), None)


def _nltk_data() -> Any:
    import nltk

    with warnings.catch_warnings(record=True) as refusals:  # of folders that others can write to
        warnings.simplefilter("always")
        for place in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
            try:
                return nltk.data.find(place)
            except LookupError:
                pass
    if refusals:
        raise PermissionError(str(refusals[0].message))
    return None


def _download() -> str:
    import nltk

    print(f"downloading WordNet 3.0 (NLTK's package wordnet) to {PROJECT}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        nltk.download("wordnet", temporary, quiet=True, raise_on_error=True, print_error_to=io.StringIO())
        return install(Path(temporary, "corpora", "wordnet.zip"))


def install(archive: Path) -> str:
    """Unpacks an archive with a folder ``wordnet`` to ``PROJECT``, atomically."""
    with replacing(PROJECT) as folder, zipfile.ZipFile(archive) as content:
        folder.mkdir()
        for member in content.infolist():
            if not member.is_dir():
                file = folder / Path(member.filename).name
                file.write_bytes(content.read(member))
                file.chmod(0o644)  # NLTK refuses files that others can write, which some umasks allow
        folder.chmod(0o755)
    return str(PROJECT)


def _open(root: Any) -> WordNetCorpusReader:
    """NLTK's reader over a folder (str) or a path pointer, without what other languages need."""
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class Reader(WordNetCorpusReader):
        def open(self, file: str) -> Any:
            return io.StringIO(lexnames()) if file == "lexnames" else super().open(file)

        def map_wn(self, version: str = "wordnet") -> None:
            return None  # serves other languages, and needs index.sense, which Debian leaves out

    if isinstance(root, str) and root not in nltk.data.path:
        nltk.data.path.append(root)  # NLTK reads from these folders only
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "multilingual functions are not available"; no synset at an offset
        reader = Reader(root, None)
        dog = reader.synset_from_pos_and_offset("n", 2084071)  # offsets differ in every release of WordNet
    if dog is None or dog.name() != "dog.n.01":
        raise ValueError(f"its noun offsets are not those of WordNet 3.0 (it says {reader.get_version()})")
    return reader
