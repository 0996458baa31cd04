"""Coded data to a model: dataset, training, calibration, evaluation, bundle."""
