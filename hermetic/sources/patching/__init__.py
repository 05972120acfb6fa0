"""Patches in unified format, applied strictly (`-p1`): every context line must be there, byte for byte.

A hunk may stand at another line than it says (earlier patches move text); it is looked for at the nearest
place where all of its lines match. Nothing else is forgiven: no fuzz, no rejects, no backup files.

`apply` is pure: from a patch and the files it touches to what those files become. `apply_to_tree` carries
that out on a directory, all or nothing.
"""

from hermetic.sources.patching.applying import apply
from hermetic.sources.patching.directory import apply_to_tree
from hermetic.sources.patching.model import Change, FilePatch, Files, Hunk
from hermetic.sources.patching.parsing import parse

__all__ = ["Change", "FilePatch", "Files", "Hunk", "apply", "apply_to_tree", "parse"]
