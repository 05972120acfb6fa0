# ruff: noqa: SIM105, PTH101, PTH102, PTH108, PTH120, PTH211
# Because pathlib and contextlib would double the time that the server takes to start.
"""What the first process of a build does: set up its root, give up all power, run the build, reap.

It is pid 1 of the build's pid namespace and stays there as a small init, so that the build's own process is
an ordinary one (pid 1 is immune to most signals). When it ends, the kernel kills whatever is left. Standard
library only; runs in a child of the fork server, which has made the namespaces.
"""

from __future__ import annotations

import _socket
import errno
import os
import resource
import select
import stat

from hermetic.sandbox import syscalls

# What `typing.TYPE_CHECKING` stands for; importing that module takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal as signal  # `signal` itself takes half as long to load as all the rest

_RESTRICTED = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


class SetupError(Exception):
    """A step failed: what was being done, and the OSError's number (0 if there is none)."""

    def __init__(self, step: str, number: int, text: str) -> None:
        super().__init__(step, number, text)
        self.record = {"step": step, "errno": number, "text": text}


def open_sources(operations: list[dict[str, Any]], owners: int | None = None) -> dict[str, int]:
    """Detached, restricted copies of the mounts that the operations bind: target to file descriptor.

    Must run before `enter_root`, by someone who may reach the sources.

    Args:
        owners: a user namespace whose map of ids says whose an input's files seem to be.
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
            pass  # not every file system can do this; then its files seem to be nobody's
    return fd


def set_up(request: dict[str, Any], sources: dict[str, int] | None) -> None:
    """Everything between the new namespaces and the build's first instruction.

    Args:
        sources: from `open_sources`, if the fork server has opened them; else they are opened here.
    """
    process = request["process"]
    if sources is None:
        sources = open_sources(request["operations"])
    _socket.sethostname(process["hostname"])
    syscalls.setdomainname("localdomain")
    for op in request["operations"]:
        if op["type"] == "Processes":
            _step(_new_proc, op, sources)
    enter_root()
    for op in request["operations"]:
        _step(_EXECUTE[op["type"]], op, sources)
    _set_limits()
    os.umask(process["umask"])
    aslr = 0 if process["aslr"] else syscalls.ADDR_NO_RANDOMIZE
    syscalls.personality(aslr | (syscalls.UNAME26 if process["uname26"] else 0))


def _step(function: Callable[..., None], op: dict[str, Any], sources: dict[str, int]) -> None:
    try:
        function(op, sources)
    except OSError as error:
        raise SetupError(f"{op['type']} {op.get('target', '/')}", error.errno or 0, str(error)) from None


def enter_root() -> None:
    """Make an empty tmpfs the root; nothing of the host can be reached by a path from here on."""
    root = syscalls.new_mount("tmpfs", _RESTRICTED, source="sandbox", mode="0755")
    syscalls.move_mount(root, "/")
    os.fchdir(root)
    os.close(root)
    syscalls.pivot_root_here()


# --- operations ----------------------------------------------------------------------------------

_folders = {"/"}  # that exist in the new root


def _make_folder(path: str) -> None:
    if path not in _folders:
        _make_folder(os.path.dirname(path))
        os.mkdir(path, 0o755)
        _folders.add(path)


def _directory(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_folder(op["target"])


def _bind(op: dict[str, Any], sources: dict[str, int]) -> None:
    fd, target = sources.pop(op["target"]), op["target"]
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        _make_folder(target)
    else:
        _make_folder(os.path.dirname(target))
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444))
    syscalls.move_mount(fd, target)
    os.close(fd)


def _scratch(op: dict[str, Any], sources: dict[str, int]) -> None:
    """A part of the root's tmpfs as a mount of its own: it stays writable when the root no longer is."""
    _make_folder(op["target"])
    os.chmod(op["target"], 0o1777)
    _attach(syscalls.open_tree(op["target"], recursive=False), op["target"])


def _symlink(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_folder(os.path.dirname(op["target"]))
    os.symlink(op["text"], op["target"])


def _file(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_folder(os.path.dirname(op["target"]))
    fd = os.open(op["target"], os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444)
    os.write(fd, op["text"].encode("utf-8", "surrogateescape"))  # in memory: whole or not at all
    os.close(fd)


def _terminals(op: dict[str, Any], sources: dict[str, int]) -> None:
    _make_folder(op["target"])
    noexec = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
    _attach(syscalls.new_mount("devpts", noexec, mode="0620", ptmxmode="0666"), op["target"])


def _processes(op: dict[str, Any], sources: dict[str, int]) -> None:
    """A /proc of the build's own. Without a text for cpuinfo it shows nothing but processes."""
    _make_folder(op["target"])
    _attach(sources.pop(op["target"]), op["target"])
    if op["cpuinfo"] is None:
        return
    shown = "/tmp/.cpuinfo"
    _file({"target": shown, "text": op["cpuinfo"]}, sources)
    _attach(syscalls.open_tree(shown, recursive=False), op["target"] + "/cpuinfo")
    os.unlink(shown)


def _new_proc(op: dict[str, Any], sources: dict[str, int]) -> None:
    """The kernel makes a new /proc only for those who still see the host's."""
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


def _set_limits() -> None:
    """The same soft limits everywhere, as far as the caller's hard limits allow. No core dumps."""
    mib = 1024 * 1024
    wanted = {resource.RLIMIT_STACK: 8 * mib, resource.RLIMIT_NOFILE: 4096, resource.RLIMIT_MEMLOCK: mib}
    for which in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_AS):
        wanted[which] = resource.RLIM_INFINITY
    for which, soft in wanted.items():
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
            soft = hard
        resource.setrlimit(which, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def become(uid: int, gid: int, *, drop_groups: bool) -> None:
    """Take the identity inside. Capabilities over the new namespaces stay: uid 0 has no part in this."""
    if drop_groups:
        os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def die_with_server(control: int) -> None:
    """Have the kernel kill this process when the fork server dies; check that it has not died before."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    poll = select.poll()
    poll.register(control, 0)
    if poll.poll(0):
        os._exit(1)


def give_up_power(seccomp_program: bytes) -> None:
    """From here on this process and its children can do no more than the build may."""
    syscalls.drop_capabilities()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # the build cannot look into its init, nor use its files
    syscalls.install_seccomp(seccomp_program)


def run(process: dict[str, Any]) -> int:
    """Run the build's process to its end and return its wait status. Orphans are reaped meanwhile."""
    enter_folder(process)
    argv = process["argv"]
    try:
        pid = os.posix_spawn(argv[0], argv, process["env"], setsigmask=[], setsigdef=signals_to_reset())
    except OSError as error:
        raise SetupError(f"execute {argv[0]}", error.errno or 0, str(error)) from None
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return status


def enter_folder(process: dict[str, Any]) -> None:
    """Make the build's working folder the current one."""
    try:
        os.chdir(process["cwd"])
    except OSError as error:
        raise SetupError(f"chdir {process['cwd']}", error.errno or 0, str(error)) from None


def signals_to_reset() -> list[int]:
    """All whose handling a process can choose, but for those that the C library keeps to itself."""
    return [s for s in range(1, signal.NSIG) if s not in (signal.SIGKILL, signal.SIGSTOP, 32, 33)]
