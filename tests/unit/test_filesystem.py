"""Reading files that others made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hermetic import filesystem


def test_a_file_is_read_up_to_the_size_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"1234")
    assert filesystem.whole(str(path), 4) == b"1234"
    with pytest.raises(OSError, match="has 4 bytes, but at most 3 are allowed") as caught:
        filesystem.whole(str(path), 3)
    assert caught.value.errno == errno.EFBIG


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a named pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(OSError, match=f"is {kind}"):
            filesystem.whole(str(path), 4)
    with pytest.raises(IsADirectoryError):
        filesystem.whole(str(tmp_path), 4)
    with pytest.raises(FileNotFoundError):
        filesystem.whole(str(tmp_path / "none"), 4)
