"""A client of the server, for programs: typed, patient with a server that is busy, and careful with what it says.

It needs the extra ``client`` (httpx): ``pip install 'tl-classifier[client]'``.

>>> with Client("http://127.0.0.1:8000") as client:                                            # doctest: +SKIP
...     for prediction in client.classify(["Nobody had asked us that before. I was lost."]):
...         print(prediction.codes)

`AsyncClient` has the same methods for asyncio. The text of an excerpt is in no error.
"""

from __future__ import annotations

try:
    import httpx as _httpx  # noqa: F401 - the one thing that the base install lacks
except ModuleNotFoundError as error:
    raise ImportError(
        "tl_classifier.client needs the package httpx, which is not installed; run: pip install 'tl-classifier[client]'"
    ) from error

from tl_classifier.client.clients import AsyncClient, Client
from tl_classifier.client.errors import (
    Busy,
    ClientError,
    InvalidRequest,
    NotAuthorized,
    ProblemDetail,
    ServerFailure,
    ServerProblem,
    Unreachable,
)
from tl_classifier.client.wire import Limits, ModelCard

__all__ = [
    "AsyncClient",
    "Busy",
    "Client",
    "ClientError",
    "InvalidRequest",
    "Limits",
    "ModelCard",
    "NotAuthorized",
    "ProblemDetail",
    "ServerFailure",
    "ServerProblem",
    "Unreachable",
]
