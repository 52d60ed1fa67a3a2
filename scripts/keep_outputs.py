"""Lets the outputs of every preset stay: python -m scripts.keep_outputs, once per clone (`make setup` does it).

``dvc checkout``, ``dvc exp run`` and ``dvc exp apply`` delete outputs that dvc.yaml no longer names. With another
preset in params.yaml, those are the models and reports of the preset before. DVC finds them in a table of what it has
written; here that table forgets each row at once. Outputs in use are restored as ever: DVC knows them by dvc.lock.
"""

import sqlite3
from pathlib import Path

from dvc.repo import Repo

FORGET = """
CREATE TRIGGER IF NOT EXISTS keep_outputs AFTER INSERT ON Cache
BEGIN DELETE FROM Cache WHERE rowid = NEW.rowid; END
"""


def main(folder: str = ".") -> None:
    with Repo(folder) as repo:
        table = Path(repo.site_cache_dir, "links", "cache.db")
    with sqlite3.connect(table) as connection:
        connection.execute(FORGET)
        connection.execute("DELETE FROM Cache")
    connection.close()


if __name__ == "__main__":
    main()
