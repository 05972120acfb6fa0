"""Runs builds in sandboxes. A sandbox is specified as a value (`spec`, pure).

The rest of hermetic uses `client`. It starts one small *fork server* (`host`, standard library only), which
creates a process in new namespaces for each build. That process runs `inside`.
"""
