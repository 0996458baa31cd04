"""`python -m tl_classifier` is `tl-classifier`."""

from tl_classifier.cli import main

main()
