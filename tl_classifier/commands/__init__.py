"""The commands of ``tl-classifier``: one module each, with a ``register(app)`` that adds it to the command line."""
