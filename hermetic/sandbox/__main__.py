# ruff: noqa: PTH100, PTH120
# Because pathlib would double the time that the server takes to start.
"""Entry point of the fork server: `python -I -S hermetic/sandbox/__main__.py SOCKET-FD`.

Run by path and without site-packages, so that it starts fast and depends on the standard library alone.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from hermetic.sandbox import host

    host.main(int(sys.argv[1]))
