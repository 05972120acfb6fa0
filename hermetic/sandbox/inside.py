# ruff: noqa: SIM105, PTH101, PTH102, PTH108, PTH120, PTH211
# pathlib and contextlib would double the start-up time of the server.
"""The first process of a build: sets up the root, drops all privileges, runs the build, reaps orphans.

It is pid 1 of the build's pid namespace and stays there as a small init. So the build's own process is an
ordinary one (pid 1 is immune to most signals). When init ends, the kernel kills all other processes of the
namespace. This code runs in a child of the fork server, which has created the namespaces. Standard library
only.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import stat

from hermetic.sandbox import limits, syscalls

# Instead of `typing.TYPE_CHECKING`: importing `typing` takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signal  # `signal` itself takes half as long to load as all the rest

_RESTRICTED = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_ROOM = {"size": "4g", "nr_inodes": "1m"}  # of /tmp and /dev/shm; the default depends on the machine's memory


class SetupError(Exception):
    """A step of the set-up failed. Args: the step, the error number (0 if there is none), the message."""

    def __init__(self, step: str, number: int, text: str) -> None:
        super().__init__(step, number, text)
        self.record = {"step": step, "errno": number, "text": text}


def open_sources(operations: list[dict[str, Any]], owners: int | None = None) -> dict[str, int]:
    """Detached, restricted copies of the mounts that the operations bind: target to file descriptor.

    Must run before `enter_root`, in a process that may access the sources.

    Args:
        owners: a user namespace whose id map determines the visible owners of input files.
    """
    return {op["target"]: _open_source(op, owners) for op in operations if op["type"] == "Bind"}


def _open_source(op: dict[str, Any], owners: int | None) -> int:
    try:
        fd = syscalls.open_tree(op["source"], recursive=True)
    except OSError as error:
        raise SetupError(f"open {op['source']}", error.errno or 0, str(error)) from None
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        raise SetupError(f"open {op['source']}", errno.ELOOP, "it is a symbolic link")
    attributes = syscalls.MOUNT_ATTR_NOSUID
    if not op["device"]:
        attributes |= syscalls.MOUNT_ATTR_NODEV
    if not op["writable"]:
        attributes |= syscalls.MOUNT_ATTR_RDONLY
    syscalls.mount_setattr(fd, attributes, recursive=True, about=op["source"])
    if owners is not None and not op["writable"] and not op["device"]:
        try:
            syscalls.mount_setattr(
                fd, syscalls.MOUNT_ATTR_IDMAP, recursive=True, userns_fd=owners, about=op["source"]
            )
        except OSError:
            pass  # not every file system supports this; without it, nobody owns the files
    return fd


def set_up(request: dict[str, Any], sources: dict[str, int] | None) -> limits.Watch:
    """Set up everything between the new namespaces and the execution of the build.

    Args:
        sources: from `open_sources`, if the fork server has opened them; otherwise they are opened here.

    Returns:
        the watch over what the build uses, not yet started.
    """
    process = request["process"]
    places = [op["target"] for op in request["operations"] if op["type"] == "Bind" and op["writable"]]
    watch = limits.Watch(process["processes"], process["memory_reserve"], places)
    if sources is None:
        sources = open_sources(request["operations"])
    _socket.sethostname(process["hostname"])
    syscalls.setdomainname("localdomain")
    if process["loopback"]:
        device = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        syscalls.bring_up(device.fileno(), "lo")
        device.close()
    for op in request["operations"]:
        if op["type"] == "Processes":
            _step(_new_proc, op, sources)
    enter_root()
    for op in request["operations"]:
        _step(_EXECUTE[op["type"]], op, sources)
    if process["formats"]:
        _register(process["formats"])
    _hide_the_host(process)
    limits.impose_on_processes(process["processes"])
    os.umask(process["umask"])
    aslr = 0 if process["aslr"] else syscalls.ADDR_NO_RANDOMIZE
    syscalls.personality(aslr | (syscalls.UNAME26 if process["uname26"] else 0))
    return watch


def _step(function: Callable[..., None], op: dict[str, Any], sources: dict[str, int]) -> None:
    try:
        function(op, sources)
    except OSError as error:
        raise SetupError(f"{op['type']} {op.get('target', '/')}", error.errno or 0, str(error)) from None


def enter_root() -> None:
    """Make an empty tmpfs the root. From here on, no path leads to the host's files."""
    root = syscalls.new_mount("tmpfs", _RESTRICTED, source="sandbox", mode="0755", **_ROOM)
    syscalls.move_mount(root, "/")
    os.fchdir(root)
    os.close(root)
    syscalls.pivot_root_here()


def _register(formats: list[str]) -> None:
    """Have the kernel start programs of other systems with emulators, in this user namespace.

    The file system that knows them exists as long as init has its root open.
    """
    try:
        root = syscalls.new_mount("binfmt_misc", _RESTRICTED)
    except OSError:
        return  # an older kernel, or one without it
    for line in formats:
        file = os.open("register", os.O_WRONLY | os.O_CLOEXEC, dir_fd=root)
        os.write(file, line.encode())
        os.close(file)


def _hide_the_host(process: dict[str, Any]) -> None:
    """Hide from /proc which paths of the host are mounted, and which user of the host runs the build.

    /proc/PID/mountinfo lists the mounts of the process's mount namespace that are below its root, with their
    paths on the host. So the root becomes a detached copy of all mounts, in which there are none of them.
    /proc/PID/uid_map shows ids of the user namespace above, so there is one more namespace between.
    """
    root = syscalls.open_tree("/", recursive=True)  # stays open: the mounts are dissolved when it is closed
    syscalls.unshare(syscalls.CLONE_NEWUSER)  # only before chroot
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # otherwise its files in /proc are root's
    uid, gid = process["outer_ids"]
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{process['uid']} {uid} 1"),
        ("gid_map", f"{process['gid']} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, text.encode())
        os.close(fd)
    os.fchdir(root)
    os.chroot(".")


# --- operations ----------------------------------------------------------------------------------

_directories = {"/"}  # directories that exist in the new root


def _make_directory(path: str) -> None:
    if path not in _directories:
        _make_directory(os.path.dirname(path))
        os.mkdir(path, 0o755)
        _directories.add(path)


def _directory(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_directory(op["target"])


def _bind(op: dict[str, Any], sources: dict[str, int]) -> None:
    fd, target = sources.pop(op["target"]), op["target"]
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        _make_directory(target)
    else:
        _make_directory(os.path.dirname(target))
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444))
    syscalls.move_mount(fd, target)
    os.close(fd)


def _scratch(op: dict[str, Any], sources: dict[str, int]) -> None:
    """Mount a part of the root's tmpfs separately: it stays writable when the root becomes read-only."""
    _make_directory(op["target"])
    os.chmod(op["target"], 0o1777)
    _attach(syscalls.open_tree(op["target"], recursive=False), op["target"])


def _symlink(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_directory(os.path.dirname(op["target"]))
    os.symlink(op["text"], op["target"])


def _file(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_directory(os.path.dirname(op["target"]))
    fd = os.open(op["target"], os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444)
    os.write(fd, op["text"].encode("utf-8", "surrogateescape"))  # in memory, so the write is complete
    os.close(fd)


def _terminals(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_directory(op["target"])
    noexec = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
    _attach(syscalls.new_mount("devpts", noexec, mode="0620", ptmxmode="0666"), op["target"])


def _processes(op: dict[str, Any], sources: dict[str, int]) -> None:
    """Mount the build's own /proc. Without a text for cpuinfo it shows processes only."""
    _make_directory(op["target"])
    _attach(sources.pop(op["target"]), op["target"])
    if op["cpuinfo"] is None:
        return
    shown = "/tmp/.cpuinfo"
    _file({"target": shown, "text": op["cpuinfo"]}, sources)
    _attach(syscalls.open_tree(shown, recursive=False), op["target"] + "/cpuinfo")
    os.unlink(shown)


def _new_proc(op: dict[str, Any], sources: dict[str, int]) -> None:
    """Create the new /proc early: the kernel allows it only while the host's /proc is visible."""
    options = {"subset": "pid"} if op["cpuinfo"] is None else {}
    attributes = _RESTRICTED | syscalls.MOUNT_ATTR_NOEXEC
    sources[op["target"]] = syscalls.new_mount("proc", attributes, **options)


def _seal(op: dict[str, Any], sources: dict[str, int]) -> None:
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_RDONLY, recursive=False, about="/")
    os.close(fd)


def _attach(fd: int, target: str) -> None:
    syscalls.move_mount(fd, target)
    os.close(fd)


_EXECUTE = {
    "Directory": _directory,
    "Bind": _bind,
    "Scratch": _scratch,
    "Symlink": _symlink,
    "File": _file,
    "Terminals": _terminals,
    "Processes": _processes,
    "Seal": _seal,
}


# --- the process -----------------------------------------------------------------------------------


def become(uid: int, gid: int, *, drop_groups: bool) -> None:
    """Take the identity inside. Capabilities over the new namespaces remain: uid 0 is not involved."""
    if drop_groups:
        os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def die_with_server(control: int) -> None:
    """Have the kernel kill this process when the fork server dies; exit if the server is dead."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    poll = select.poll()
    poll.register(control, 0)
    if poll.poll(0):
        os._exit(1)


def give_up_power(seccomp_program: bytes) -> None:
    """Drop all privileges: from here on this process and its children can do only what the build may do."""
    syscalls.drop_capabilities()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # the build can neither inspect its init nor use its files
    syscalls.install_seccomp(seccomp_program)


def run(process: dict[str, Any]) -> int:
    """Run the build's process to its end and return its wait status. Reaps orphans meanwhile."""
    enter_directory(process)
    argv = process["argv"]
    try:
        pid = os.posix_spawn(argv[0], argv, process["env"], setsigmask=[], setsigdef=signals_to_reset())
    except OSError as error:
        raise SetupError(f"execute {argv[0]}", error.errno or 0, str(error)) from None
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return status


def enter_directory(process: dict[str, Any]) -> None:
    """Change to the build's working directory."""
    try:
        os.chdir(process["cwd"])
    except OSError as error:
        raise SetupError(f"chdir {process['cwd']}", error.errno or 0, str(error)) from None


def signals_to_reset() -> list[int]:
    """All signals that a process can handle, except those reserved by the C library."""
    return [s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)]
