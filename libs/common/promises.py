"""The one kind of error that ends a process for good."""


class BrokenPromiseError(Exception):
    """Something no restart mends (settings, credentials, schema, wrong account): the process says
    so in one line and ends with status 78.
    """
