"""The error whose message is meant for the user."""


class UserError(Exception):
    """Something the user can put right.

    The message names the thing, what was expected, what was found and what to do; the command line prints it
    without a traceback. Subclasses exist where a caller has to tell cases apart.

    exit_code: what the command line returns: 2 for bad input, 3 when results exist but are incomplete.
    """

    exit_code = 2
