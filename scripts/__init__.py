"""What make and users call beside DVC, run from the project's root: python -m scripts.relist"""

from hrrl.errors import escape_what_stdout_lacks

escape_what_stdout_lacks()
