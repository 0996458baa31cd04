"""The server: a model behind HTTP, on the user's own machine.

`serving.app.create_app` builds the application, `serving.server.serve` runs it. Nothing that is sent to the server is
stored, logged or passed on.
"""
