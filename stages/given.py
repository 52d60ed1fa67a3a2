"""Takes a variant as params.yaml gives it, which waits for no search: data/selected/<variant>.json."""

from stages.common import run
from stages.paths import selected, write_json
from stages.variants import axes


def main(_, variant):
    write_json(selected(variant), axes(variant))


if __name__ == "__main__":
    run(main, "variant")
