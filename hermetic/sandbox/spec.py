"""The specification of a sandbox as a value, and the operations that set it up, as data. Pure.

The defaults apply to every build. The fields under "perturbations" are for `hermetic verify`, which varies
conditions that must not change the result.
"""

from __future__ import annotations

import posixpath
from typing import Any, Final, TypeAlias

import msgspec

from hermetic.errors import SandboxError

BUILD_UID: Final = 1000
BUILD_GID: Final = 1000
PROCESSES: Final = 8192  # more than any build has; small machines allow four times as many

DEFAULT_FILES: Final[dict[str, str]] = {
    "/etc/passwd": (
        "root:x:0:0:root:/:/bin/sh\n"
        "build:x:1000:1000:build:/build:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/bin/sh\n"
    ),
    "/etc/group": "root:x:0:\ntty:x:5:\nbuild:x:1000:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}

_FARTHEST: Final = 10**9  # seconds; some programs cannot handle dates further from now
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS: Final = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}


class Mount(msgspec.Struct, frozen=True):
    """A file or directory of the host that the build sees.

    Attributes:
        source: absolute path on the host; not a symbolic link.
        target: absolute path inside.
        writable: the build may change it. A directory belongs to the build's user while the build runs;
            anything else, such as a jobserver's fifo, must be writable for that user.
    """

    source: str
    target: str
    writable: bool = False


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One build: its process and everything that the process can access.

    Attributes:
        argv: the absolute path of the program, and its arguments.
        env: the whole environment.
        cwd: absolute path inside.
        mounts: files and directories of the host. None may be below another.
        links: symbolic links, path to link target.
        files: small read-only text files, path to content.
        timeout: seconds, or None for no limit.
        log_limit: bytes, or None for no limit. A build that writes more is killed.
        processes: the most at the same time, threads included. A build that starts more is killed.
        memory_reserve: bytes. When less than this is available on the machine, a build that uses more than
            half of what is in use is killed.
        loopback: the loopback interface is up. Builds have no network at all.
        formats: programs of other systems that can be started, and by which emulator: lines for binfmt_misc
            (see the kernel's documentation). Without effect before Linux 6.7.

        hostname, umask, aslr, uname26, cpuinfo, clock_offset, other_machine, one_cpu: perturbations.
            `aslr`: random address space layout. `uname26`: the kernel reports version 2.6. `cpuinfo`: text of
            /proc/cpuinfo; /proc then has its usual contents, while by default it shows processes only.
            `clock_offset`: seconds that the build's time of day is ahead. `other_machine`: sysinfo and uname
            tell of half of the memory and of a kernel of another version. With either of the two, the build
            is traced. `one_cpu`: the build runs on one CPU and sees no other.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/build"
    mounts: tuple[Mount, ...] = ()
    links: dict[str, str] = {}
    files: dict[str, str] = msgspec.field(default_factory=DEFAULT_FILES.copy)
    uid: int = BUILD_UID
    gid: int = BUILD_GID
    timeout: float | None = None
    log_limit: int | None = None
    processes: int = PROCESSES
    memory_reserve: int = 256 << 20
    loopback: bool = False
    formats: tuple[str, ...] = ()
    hostname: str = "localhost"
    umask: int = 0o022
    aslr: bool = False
    uname26: bool = False
    cpuinfo: str | None = None
    clock_offset: int = 0
    other_machine: bool = False
    one_cpu: bool = False


class Directory(msgspec.Struct, frozen=True, tag=True):
    """A directory, created with its parents."""

    target: str


class Bind(msgspec.Struct, frozen=True, tag=True):
    """A file or directory of the host with the mounts below it; nosuid, and nodev unless it is a device."""

    source: str
    target: str
    writable: bool
    device: bool = False


class Scratch(msgspec.Struct, frozen=True, tag=True):
    """An empty directory in memory that the build may write to."""

    target: str


class Symlink(msgspec.Struct, frozen=True, tag=True):
    target: str
    text: str


class File(msgspec.Struct, frozen=True, tag=True):
    """A small file, mode 0444."""

    target: str
    text: str


class Terminals(msgspec.Struct, frozen=True, tag=True):
    """A new instance of devpts."""

    target: str


class Processes(msgspec.Struct, frozen=True, tag=True):
    """A new /proc."""

    target: str
    cpuinfo: str | None


class Seal(msgspec.Struct, frozen=True, tag=True):
    """The root becomes read-only. Mounts on it stay as they are."""


Operation: TypeAlias = Directory | Bind | Scratch | Symlink | File | Terminals | Processes | Seal


def operations(spec: SandboxSpec, *, interactive: bool = False) -> list[Operation]:
    """The operations, in order, that turn an empty root into the root of the build.

    Raises:
        SandboxError: the specification is not valid.
    """
    check(spec)
    devices = (*_DEVICES, "tty") if interactive else _DEVICES
    found: list[Operation] = [
        Scratch("/tmp"),
        Scratch("/dev/shm"),
        *(Bind(f"/dev/{name}", f"/dev/{name}", writable=False, device=True) for name in devices),
        *(Symlink(path, text) for path, text in _DEVICE_LINKS.items()),
        Terminals("/dev/pts"),
        Processes("/proc", spec.cpuinfo),
        *(Bind(m.source, m.target, m.writable) for m in sorted(spec.mounts, key=lambda m: m.target)),
        *(Symlink(path, text) for path, text in sorted(spec.links.items())),
        *(File(path, text) for path, text in sorted(spec.files.items())),
    ]
    if not spec.mounts or not any(_is_beneath(spec.cwd, m.target) for m in spec.mounts):
        found.append(Directory(spec.cwd))
    return [*found, Seal()]


def request(spec: SandboxSpec, *, interactive: bool = False) -> dict[str, Any]:
    """The request to the fork server, made of built-in types only."""
    process = {
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "interactive": interactive,
        # Who sets the sandbox up, in the outer user namespace. Only root may write to binfmt_misc.
        "outer_ids": [0, 0] if spec.formats else [spec.uid, spec.gid],
        "formats": list(spec.formats),
        **{name: getattr(spec, name) for name in ("cwd", "uid", "gid", "timeout")},
        **{name: getattr(spec, name) for name in ("log_limit", "processes", "memory_reserve", "loopback")},
        **{name: getattr(spec, name) for name in ("hostname", "umask", "aslr", "uname26")},
        **{name: getattr(spec, name) for name in ("clock_offset", "other_machine", "one_cpu")},
    }
    ops = [msgspec.to_builtins(op) for op in operations(spec, interactive=interactive)]
    return {"operations": ops, "process": process}


def check(spec: SandboxSpec) -> None:
    """Raises SandboxError, with the value, if the specification is not valid."""
    if not spec.argv or not spec.argv[0].startswith("/"):
        raise SandboxError(f"the program of a build must be an absolute path, not {spec.argv[:1]!r}")
    for key, value in spec.env.items():
        if not key or "=" in key or "\0" in key + value:
            raise SandboxError(f"not a valid environment variable: {key!r}={value!r}")
    if any("\0" in argument for argument in spec.argv):
        raise SandboxError(f"an argument of a build contains a NUL character: {spec.argv!r}")
    _check_path("working directory", spec.cwd)
    if spec.timeout is not None and spec.timeout <= 0:
        raise SandboxError(f"a timeout must be above 0 seconds, not {spec.timeout}")
    if spec.processes <= 0:
        raise SandboxError(f"a limit of processes must be above 0, not {spec.processes}")
    if not 0 <= spec.umask <= 0o777:
        raise SandboxError(f"a umask must be between 0 and 0o777, not {spec.umask:#o}")
    if not 0 < len(spec.hostname) <= 64:
        raise SandboxError(
            f"a host name must have 1 to 64 characters, not {len(spec.hostname)}: {spec.hostname!r}"
        )
    if not 0 <= spec.clock_offset <= _FARTHEST:
        raise SandboxError(f"a clock offset must be 0 to {_FARTHEST} seconds, not {spec.clock_offset}")
    for what, number in (("uid", spec.uid), ("gid", spec.gid)):
        if not 0 < number < 65534:
            raise SandboxError(f"the {what} of a build must be between 1 and 65533, not {number}")
    _check_targets(spec)


def _check_targets(spec: SandboxSpec) -> None:
    for mount in spec.mounts:
        _check_path("mounted path of the host", mount.source)
    mounted = {m.target for m in spec.mounts}
    targets = [*(m.target for m in spec.mounts), *spec.links, *spec.files]
    if len(set(targets)) < len(targets):
        twice = sorted({t for t in targets if targets.count(t) > 1})
        raise SandboxError(f"two mounts, links or files at the same path of a sandbox: {', '.join(twice)}")
    for target in targets:
        _check_path("path in a sandbox", target)
        if target in ("/", "/dev", "/tmp") or _is_beneath(target, "/proc") or target in _DEVICE_LINKS:
            raise SandboxError(f"this path of a sandbox is reserved: {target}")
        above = posixpath.dirname(target)
        while above != "/":
            if above in mounted:
                raise SandboxError(f"a path of a sandbox is below a mount: {target} is below {above}")
            above = posixpath.dirname(above)


def _check_path(what: str, path: str) -> None:
    if not path.startswith("/") or path.startswith("//") or posixpath.normpath(path) != path or "\0" in path:
        raise SandboxError(f"a {what} must be absolute and without '.', '..' or double '/', not {path!r}")


def _is_beneath(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
