"""Errors that a user can cause: each ends in one clear sentence.

The sentence says what was wrong, where (file, row, column) and what would be right. It never quotes interview
text: a message may be logged, mailed or pasted into a bug report.
"""

from __future__ import annotations


class UserError(Exception):
    """Base of every error that a user can cause; ``str(error)`` is one sentence fit to be shown as it is."""


class InputError(UserError):
    """An input file, or something in it, cannot be used."""


class CodebookError(UserError):
    """A codebook is malformed, or names in coded data are not in it."""


class BundleError(UserError):
    """A model on disk is missing, incomplete, changed or made for another version of this program."""


class TrainingError(UserError):
    """Training cannot start or go on with what was given."""
