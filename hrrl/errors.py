"""The one kind of error that is the user's to mend."""


class UserError(ValueError):
    """Bad params or data: one line that names the key or file, what is wrong and what would be right."""
