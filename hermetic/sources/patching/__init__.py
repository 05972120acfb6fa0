"""Patches in unified format, applied strictly (`-p1`): they mean what `git apply` and `patch -F0` mean.

A hunk may stand at another line than it says; that is told. Where git and GNU patch would both apply it, but
at different lines, it is refused. Nothing is forgiven: no fuzz, no rejects, no backup files.
`docs/sources.md` lists every case.

`apply` is pure: from a patch and the files it touches to what those files become. `apply_to_tree` carries
that out on a directory, all or nothing.
"""

from hermetic.sources.patching.applying import apply
from hermetic.sources.patching.directory import apply_to_tree
from hermetic.sources.patching.model import Change, FilePatch, Files, Hunk
from hermetic.sources.patching.parsing import parse

__all__ = ["Change", "FilePatch", "Files", "Hunk", "apply", "apply_to_tree", "parse"]
