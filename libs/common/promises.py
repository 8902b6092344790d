"""The two kinds of error that end a process on purpose."""


class BrokenPromiseError(Exception):
    """Something no restart mends (settings, credentials, schema, wrong account): the process says
    so in one line and ends with status 78.
    """


class RestartNeededError(Exception):
    """This process cannot go on, but a new one may: it says so in one line and ends with 1."""
