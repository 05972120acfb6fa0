"""File trees: their canonical form, their manifest and content hash, copying and removing them.

What counts in a tree is: the relative path of each entry, its kind (file, executable file, symbolic link,
directory) and its content. The *manifest* lists exactly that, sorted by the bytes of the path; the *content
hash* is the hash of the manifest. The root of a tree is a directory or a single regular file; its own entry
has the empty path. Owners, times, permission bits beyond "executable", extended attributes and which names
share an inode do not count, and `canonicalise` sets them to one fixed value.

File names are bytes throughout: nothing says that they are UTF-8.
"""

from hermetic.tree.canonical import canonicalise, canonicalise_and_scan, copy_and_scan
from hermetic.tree.copying import copy
from hermetic.tree.kinds import Unstorable
from hermetic.tree.manifest import MOST, Entry, Kind, Manifest, compare, content_hash
from hermetic.tree.removing import remove
from hermetic.tree.scanning import scan

__all__ = [
    "MOST",
    "Entry",
    "Kind",
    "Manifest",
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
