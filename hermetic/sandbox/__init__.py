"""Builds run here: a specification (`spec`, pure), and its application to this machine.

`client` is what the rest of hermetic uses. It starts one small *fork server* (`host`, standard library
only), which makes a process in new namespaces for each build; `inside` is what that process does.
"""
