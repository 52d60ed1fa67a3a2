"""params.yaml, typed and validated (hrrl/settings/schema.py); ``python -m hrrl.params`` checks it on this machine."""

import sys

from hrrl.errors import UserError, escape_what_stdout_lacks
from hrrl.settings.schema import Params, load

__all__ = ["Params", "load"]

if __name__ == "__main__":
    from hrrl.settings import preflight

    escape_what_stdout_lacks()
    try:
        preflight.check(load(*sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
