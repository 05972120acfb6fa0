"""File trees: their canonical form, their manifest and content hash, copying and removing them.

The identity of a tree consists of the relative path of each entry, its kind (file, executable file, symbolic
link, directory) and its content. The *manifest* lists exactly these, sorted by the bytes of the path. The
*content hash* is the hash of the manifest. The root of a tree is a directory or a single regular file; its
entry has the empty path. Owners, time stamps, permission bits other than "executable", extended attributes
and hard links are not part of the identity. `canonicalise` sets them to fixed values.

File names are bytes everywhere, because they need not be UTF-8.
"""

from hermetic.tree.canonical import canonicalise, canonicalise_and_scan
from hermetic.tree.canonical_copy import copy_and_scan
from hermetic.tree.copying import copy
from hermetic.tree.kinds import Unstorable
from hermetic.tree.manifest import MOST, Entry, Kind, Manifest, compare, content_hash
from hermetic.tree.removing import remove
from hermetic.tree.scanning import Unreadable, scan

__all__ = [
    "MOST",
    "Entry",
    "Kind",
    "Manifest",
    "Unreadable",
    "Unstorable",
    "canonicalise",
    "canonicalise_and_scan",
    "compare",
    "content_hash",
    "copy",
    "copy_and_scan",
    "remove",
    "scan",
]
