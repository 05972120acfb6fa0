"""Explains why a sandbox could not be set up, and what to change."""

from __future__ import annotations

import errno
import os
import platform
from pathlib import Path
from typing import Any, Final

from hermetic.errors import SandboxError

_OLDEST_KERNEL: Final = (5, 12)


def check_machine() -> None:
    """Raises SandboxError if this machine cannot build."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        this = f"{platform.machine()} {platform.system()}"
        raise SandboxError(f"builds run on x86_64 Linux only; this is {this}")
    release = platform.release()
    parts = release.replace("-", ".").split(".")
    if parts[0].isdigit() and parts[1].isdigit() and (int(parts[0]), int(parts[1])) < _OLDEST_KERNEL:
        oldest = ".".join(map(str, _OLDEST_KERNEL))
        raise SandboxError(f"the sandbox needs Linux {oldest} or newer; this is {release}")


def explain(failure: dict[str, Any]) -> SandboxError:
    """The error for a failed step: `step`, `errno` and `text` as the fork server reports them."""
    step, number, text = failure["step"], failure["errno"], failure["text"]
    if number == errno.ENOSYS:
        return SandboxError(
            f"the kernel ({platform.release()}) lacks a system call that the sandbox needs: {text}",
            hint="use Linux 5.12 or newer, without a seccomp filter that blocks its mount calls",
        )
    if step.startswith(("open ", "chdir ", "execute ")):
        return SandboxError(f"the sandbox could not {step}: {text}")
    if step == "Processes /proc" and number == errno.EPERM:
        return SandboxError(
            f"the kernel refuses a new /proc: {text}",
            hint="in a container that hides parts of /proc, start it with an unmasked /proc "
            "(docker: --security-opt systempaths=unconfined)",
        )
    if step == "trace":
        return _untraceable(number, text)
    reason, hint = _why_no_namespaces(number)
    return SandboxError(
        f"the sandbox could not be set up, so nothing was built: {reason or text}",
        hint=hint,
        details=(f"step: {step}", f"error: {text}"),
    )


def _untraceable(number: int, text: str) -> SandboxError:
    """The error when a build cannot be traced."""
    without = "leave out what needs it: --no-perturb clock --no-perturb machine"
    reason, hint = "", without
    scope = _setting("kernel/yama/ptrace_scope")
    if scope in ("2", "3"):
        reason = f": tracing is forbidden (kernel.yama.ptrace_scope is {scope})"
        change = (
            "as root: sysctl -w kernel.yama.ptrace_scope=1" if scope == "2" else "change it with a reboot"
        )
        hint = f"{change}, or {without}"
    elif text.endswith("'ptrace'") and number in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        reason = ": the kernel or the container does not permit ptrace"
        hint = f"in a container, permit it (docker: --cap-add SYS_PTRACE), or {hint}"
    return SandboxError(
        f"the rebuild cannot be traced{reason}",
        hint=hint,
        details=(f"error: {text}",),
    )


def _why_no_namespaces(number: int) -> tuple[str | None, str | None]:
    """The setting of this machine that most probably forbids user namespaces, and the remedy."""
    if os.geteuid() != 0 and _setting("kernel/unprivileged_userns_clone") == "0":
        return _forbidden("kernel.unprivileged_userns_clone", "0", "1")
    if _setting("user/max_user_namespaces") == "0":
        return _forbidden("user.max_user_namespaces", "0", "15000")
    if os.geteuid() != 0 and _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return _forbidden("kernel.apparmor_restrict_unprivileged_userns", "1", "0")
    for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        if number == errno.ENOSPC and _setting(f"user/max_{kind}_namespaces") == "0":
            return _forbidden(f"user.max_{kind}_namespaces", "0", "15000")
    if number in (errno.EPERM, errno.EACCES):
        return (
            "the kernel or the container does not permit user namespaces",
            "in a container, permit them (docker: --security-opt seccomp=unconfined, or --privileged), "
            "or run hermetic outside the container",
        )
    if number == errno.ENOSPC:
        return "too many namespaces exist", "raise the user.max_*_namespaces settings with sysctl"
    return None, None


def _forbidden(name: str, value: str, remedy: str) -> tuple[str, str]:
    return f"user namespaces are forbidden ({name} is {value})", f"as root: sysctl -w {name}={remedy}"


def _setting(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None
