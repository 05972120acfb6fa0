"""Typed wrappers of system calls for which Python has no function. Linux 5.12 or newer, x86_64.

Imports only `ctypes` and `os`, because the fork server must start fast. Every wrapper raises OSError, with
the name of the call and its object in `filename`.
"""

from __future__ import annotations

import ctypes
import os

# Instead of `typing.TYPE_CHECKING`: importing `typing` takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
SIGCHLD: Final = 17

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_IDMAP: Final = 0x100000
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

UNAME26: Final = 0x0020000
ADDR_NO_RANDOMIZE: Final = 0x0040000

_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_OPEN_TREE_CLONE: Final = 1
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_SECCOMP_SET_MODE_FILTER: Final = 1
# Without this flag, older kernels disable speculative store bypass for the whole build, which slows it down.
_SECCOMP_FILTER_FLAG_SPEC_ALLOW: Final = 4

# fmt: off
_NUMBERS: Final = {
    "ioctl": 16, "clone": 56, "capset": 126, "personality": 135, "pivot_root": 155, "umount2": 166,
    "setdomainname": 171, "unshare": 272, "seccomp": 317, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "mount_setattr": 442,
}
# fmt: on

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]


def _call(name: str, *args: int | bytes | None, about: str | None = None) -> int:
    converted = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result: int = _libc.syscall(ctypes.c_long(_NUMBERS[name]), *converted)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"{name} {about}" if about else name)
    return result


def clone(flags: int) -> int:
    """Fork into new namespaces. Returns 0 in the child, and the child's pid in the parent.

    Only for a single-threaded process: Python's fork hooks do not run.
    """
    return _call("clone", flags | SIGCHLD, 0, 0, 0, 0)


def unshare(flags: int) -> None:
    """Move this process into new namespaces. Only for a single-threaded process."""
    _call("unshare", flags)


def open_tree(path: str, *, recursive: bool) -> int:
    """A file descriptor of a detached copy of the mount at `path`. A final symbolic link is not followed."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | AT_SYMLINK_NOFOLLOW | (AT_RECURSIVE if recursive else 0)
    return _call("open_tree", AT_FDCWD, os.fsencode(path), flags, about=path)


def mount_setattr(fd: int, attributes: int, *, recursive: bool, userns_fd: int = 0, about: str) -> None:
    """Set attributes of the mount whose root is `fd`, and make it private."""
    attr = b"".join(n.to_bytes(8, "little") for n in (attributes, 0, MS_PRIVATE, userns_fd))
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _call("mount_setattr", fd, b"", flags, attr, len(attr), about=about)


def move_mount(fd: int, target: str) -> None:
    """Attach the detached mount `fd` at `target`."""
    _call("move_mount", fd, b"", AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH, about=target)


def new_mount(kind: str, attributes: int, **options: str) -> int:
    """A file descriptor of a new, detached file system; `attributes` are MOUNT_ATTR_*."""
    fs = _call("fsopen", kind.encode(), _FSOPEN_CLOEXEC, about=kind)
    try:
        for key, value in options.items():
            about = f"{kind} {key}={value}"
            _call("fsconfig", fs, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0, about=about)
        _call("fsconfig", fs, _FSCONFIG_CMD_CREATE, None, None, 0, about=kind)
        return _call("fsmount", fs, _FSMOUNT_CLOEXEC, attributes, about=kind)
    finally:
        os.close(fs)


def pivot_root_here() -> None:
    """Make the mount at the current directory the root, and detach the old root."""
    _call("pivot_root", b".", b".")
    _call("umount2", b".", MNT_DETACH, about="the old root")
    os.chdir("/")


def setdomainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace."""
    _call("setdomainname", name.encode(), len(name.encode()))


def bring_up(device: int, name: str) -> None:
    """Turn on a network interface (man 7 netdevice). `device`: any socket of the network namespace."""
    _call("ioctl", device, _SIOCSIFFLAGS, name.encode().ljust(16, b"\0") + _IFF_UP.to_bytes(24, "little"))


def prctl(option: int, argument: int = 0) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl {option}")


def rename_process(name: str) -> None:
    """Change what `ps` shows of this process: its name, and its whole command line (man 5 proc, cmdline)."""
    text = ctypes.create_string_buffer(name.encode())
    prctl(PR_SET_NAME, ctypes.addressof(text))
    stat = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    fields = os.read(stat, 4096).rpartition(b")")[2].split()  # from the third one
    os.close(stat)
    start, end = int(fields[45]), int(fields[46])
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, min(len(text), end - start))
    # The kernel ends the command line at the first NUL if the last byte is not NUL; its length says nothing.
    ctypes.memset(end - 1, 1, 1)


def personality(flags: int) -> None:
    """Set the execution domain: `ADDR_NO_RANDOMIZE`, `UNAME26`."""
    _call("personality", flags)


def drop_capabilities() -> None:
    """Empty all capability sets permanently: bounding, ambient, inheritable, permitted, effective."""
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:
            break  # the kernel has fewer capabilities
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    version_3 = 0x20080522
    _call("capset", version_3.to_bytes(4, "little") + bytes(4), bytes(24))


def install_seccomp(program: bytes) -> None:
    """Install a BPF program (8 bytes for each instruction). `no_new_privs` must be set."""
    buffer = ctypes.create_string_buffer(program, len(program))
    address = ctypes.addressof(buffer)
    fprog = (len(program) // 8).to_bytes(8, "little") + address.to_bytes(8, "little")
    _call("seccomp", _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW, fprog)
