"""``python -m serving.health``: whether the server on this machine takes work, for the health check of a container.

It asks ``/readyz`` on the port that ``TLC_PORT`` names, and exits with 0 where the answer is yes, else with 1.
"""

from __future__ import annotations

import http.client
import os
import sys


def is_ready(port: int) -> bool:
    """Whether a server that listens on this port of the loopback address takes work."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_ready(int(os.environ.get("TLC_PORT", "8000"))))
