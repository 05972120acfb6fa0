"""One project and one store: what the command line and Python programs do with them.

    with hermetic.Session("path/to/project") as session:
        done = session.realize(["zlib-aarch64"])
        print(done.outputs["zlib-aarch64"].path)

Nothing here prints or exits. What goes wrong is an exception of `hermetic.errors`; what goes on is told to a
listener (`hermetic.realize.events`). Code that fetches, builds or compares is loaded by the method that needs
it, so that a session that only looks something up opens at once.
"""

from hermetic.session.session import Session

__all__ = ["Session"]
