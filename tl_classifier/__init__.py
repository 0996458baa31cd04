"""Codes interview transcripts for stages of transformational learning and themes of training.

>>> from tl_classifier import Classifier, Excerpt
>>> classifier = Classifier.load()                          # doctest: +SKIP
>>> classifier.predict([Excerpt("I wasn't the only one.")])  # doctest: +SKIP
"""

from __future__ import annotations

from tl_classifier.classifier import Classifier
from tl_classifier.codebook import Code, Codebook, Dimension, Group
from tl_classifier.errors import BundleError, CodebookError, InputError, TrainingError, UserError
from tl_classifier.excerpts import CodedExcerpt, Coding, Excerpt, Prediction

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "Classifier",
    "Code",
    "Codebook",
    "CodebookError",
    "CodedExcerpt",
    "Coding",
    "Dimension",
    "Excerpt",
    "Group",
    "InputError",
    "Prediction",
    "TrainingError",
    "UserError",
    "__version__",
]
