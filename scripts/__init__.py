"""What make and users call beside DVC, run from the project's root: python -m scripts.relist"""

import os
import tempfile

from hrrl.errors import escape_what_stdout_lacks

escape_what_stdout_lacks()
if os.path.expanduser("~") == "~":  # a user of a container, who has no home: DVC wants one
    os.environ["HOME"] = tempfile.gettempdir()
