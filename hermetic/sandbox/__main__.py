# ruff: noqa: PTH100, PTH120
# pathlib would double the start-up time of the server.
"""Entry point of the fork server: `python -I -S hermetic/sandbox/__main__.py SOCKET-FD [rebuilds]`.

It is run by path and without site-packages, so that it starts fast and depends on the standard library only.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from hermetic.sandbox import host

    host.main(int(sys.argv[1]), rebuilds="rebuilds" in sys.argv[2:])
    os._exit(0)  # the client waits for this, and Python would take its modules apart first
