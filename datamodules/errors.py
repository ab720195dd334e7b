"""What goes wrong with data in a way that a user can mend."""


class DataError(ValueError):
    """Data is missing, corrupt or unfit; the message says what, where and what to do."""
