"""params.yaml, typed and validated (hrrl/settings/schema.py); ``python -m hrrl.params`` checks it on this machine."""

import argparse
import sys

from hrrl.errors import UserError, escape_what_stdout_lacks
from hrrl.settings.schema import Params, load

__all__ = ["Params", "load"]

if __name__ == "__main__":
    from hrrl.settings import preflight

    parser = argparse.ArgumentParser(description="Checks a params file on this machine; says nothing of a good one.")
    parser.add_argument("file", nargs="?", default="params.yaml")
    escape_what_stdout_lacks()
    try:
        preflight.check(load(parser.parse_args().file))
    except UserError as error:
        sys.exit(str(error))
