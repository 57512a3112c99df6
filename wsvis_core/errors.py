"""The one exception for what a user can get wrong."""

from __future__ import annotations


class WsvisError(Exception):
    """A message for the user: names the file and the value, what was expected, and the next step.

    The command line and the workflow scripts print it without a traceback and exit with code 2.
    """
