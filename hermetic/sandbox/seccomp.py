"""The system calls that a build may not make, as a BPF program (man 2 seccomp). x86_64 only.

Namespaces isolate the build. This filter removes system calls that no build needs, that would make a result
depend on the machine, or whose effects outlive the build (setuid bits, extended attributes). It also leaves
less of the kernel open to attack. Standard library only.
"""

from __future__ import annotations

# Instead of `typing.TYPE_CHECKING`: importing `typing` takes longer than starting a build.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

EPERM: Final = 1
EACCES: Final = 13
ENOSYS: Final = 38
EAFNOSUPPORT: Final = 97
ENOTSUP: Final = 95
ALLOW: Final = -1
TRACE: Final = -2  # ask the tracer; without a tracer the call fails with ENOSYS

_SETID_BITS: Final = 0o6000
_CREATES: Final = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE
_NEW_NAMESPACES: Final = 0x7E020000  # all CLONE_NEW* except NEWTIME, which clone does not accept
_CLONE_NEWTIME: Final = 0x80
_IFMT, _IFCHR, _IFBLK = 0o170000, 0o020000, 0o060000
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_PROT_WRITE, _PROT_EXEC = 2, 4
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_CLONE_UNTRACED: Final = 0x800000
_REALTIME, _REALTIME_COARSE, _REALTIME_ALARM, _TAI = 0, 5, 8, 11
_TIMER_ABSTIME: Final = 1
_FUTEX_CLOCK_REALTIME, _FUTEX_COMMAND, _FUTEX_LOCK_PI = 0x100, 0x7F, 6

# The newest call considered for this list: mseal, of Linux 6.10. Newer calls do not exist for a build.
_LAST_KNOWN: Final = 462

# fmt: off
_NUMBERS: Final[dict[str, int]] = {
    "open": 2, "ioctl": 16, "socket": 41, "clone": 56, "creat": 85, "chmod": 90, "fchmod": 91, "ptrace": 101,
    "syslog": 103, "getgroups": 115, "mknod": 133, "uselib": 134, "modify_ldt": 154, "pivot_root": 155,
    "_sysctl": 156, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165,
    "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
    "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "setxattr": 188,
    "lsetxattr": 189, "fsetxattr": 190, "getxattr": 191, "lgetxattr": 192, "fgetxattr": 193, "listxattr": 194,
    "llistxattr": 195, "flistxattr": 196, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
    "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249,
    "keyctl": 250, "openat": 257, "mknodat": 259, "fchmodat": 268, "unshare": 272,
    "vhangup": 153, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
    "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442,
    "quotactl_fd": 443, "fchmodat2": 452, "statmount": 457, "listmount": 458, "lsm_set_self_attr": 460,
}
_DO_NOT_EXIST: Final = (
    "add_key", "request_key", "keyctl", "openat2", "clone3", "statmount", "listmount", "io_uring_setup",
    "io_uring_enter", "io_uring_register",
)
# Calls that a tracer (`clock`) answers or changes.
TRACED_NUMBERS: Final[dict[str, int]] = {
    "uname": 63, "gettimeofday": 96, "sysinfo": 99, "utime": 132, "time": 201, "futex": 202,
    "timer_settime": 223, "clock_gettime": 228, "clock_nanosleep": 230, "utimes": 235, "mq_timedsend": 242,
    "mq_timedreceive": 243, "futimesat": 261, "utimensat": 280, "timerfd_settime": 286, "futex_waitv": 449,
    "futex_wait": 455,
}
# Calls of the filters that a finished program is tried out under (`no_writable_code`, `linux_5_8`).
TRIED_NUMBERS: Final[dict[str, int]] = {
    "mmap": 9, "mprotect": 10, "pkey_mprotect": 329, "close_range": 436, "faccessat2": 439,
}
_FOR_A_TRACER: Final = ("ptrace", "process_vm_readv", "process_vm_writev")
_MODE_ARGUMENT: Final = {
    "chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2,
}
# fmt: on


class Test:
    """The masked low 32 bits of an argument equal `value`; if that is None, they are not all zero."""

    def __init__(self, argument: int, mask: int, value: int | None = None) -> None:
        self.argument, self.mask, self.value = argument, mask, value


class Rule:
    """For the call `name`, if all tests hold: fail with `errno` (0: return 0 idly), ALLOW or TRACE."""

    def __init__(self, name: str, errno: int, tests: tuple[Test, ...] = ()) -> None:
        self.name, self.errno, self.tests = name, errno, tests


def rules() -> tuple[Rule, ...]:
    """All rules. The first rule of a call whose tests hold decides. A call without such a rule is allowed."""
    found = (
        *_no_setuid_bits_and_devices(),
        *(Rule(name, ENOTSUP) for name in _NUMBERS if name.endswith("xattr")),
        *_only_own_network(),
        *_no_new_namespaces(),
        # To programs, ENOSYS means an older kernel; they use another call.
        *(Rule(name, ENOSYS) for name in _DO_NOT_EXIST),
        # A caller who is not root cannot drop supplementary groups, so they are hidden from the build.
        Rule("getgroups", 0),
        Rule("ioctl", EPERM, (Test(1, 0xFFFFFFFF, _TIOCSTI),)),
        Rule("ioctl", EPERM, (Test(1, 0xFFFFFFFF, _TIOCLINUX),)),
    )
    named = {rule.name for rule in found}
    return (*found, *(Rule(name, EPERM) for name in _NUMBERS if name not in named))


def _no_setuid_bits_and_devices() -> tuple[Rule, ...]:
    return (
        *(Rule(name, EPERM, (Test(arg, _SETID_BITS),)) for name, arg in _MODE_ARGUMENT.items()),
        Rule("open", EPERM, (Test(1, _CREATES), Test(2, _SETID_BITS))),
        Rule("openat", EPERM, (Test(2, _CREATES), Test(3, _SETID_BITS))),
        *(
            Rule(name, EPERM, (Test(_MODE_ARGUMENT[name], _IFMT, kind),))
            for name in ("mknod", "mknodat")
            for kind in (_IFCHR, _IFBLK)
        ),
    )


def _only_own_network() -> tuple[Rule, ...]:
    """Only socket families that a network namespace isolates. Others (AF_VSOCK, AF_ALG ...) bypass it."""
    whole = 0xFFFFFFFF
    return (
        *(Rule("socket", ALLOW, (Test(0, whole, family),)) for family in (_AF_UNIX, _AF_INET, _AF_INET6)),
        Rule("socket", ALLOW, (Test(0, whole, _AF_NETLINK), Test(2, whole, 0))),
        Rule("socket", EAFNOSUPPORT),
    )


def _no_new_namespaces() -> tuple[Rule, ...]:
    return (
        Rule("clone", EPERM, (Test(0, _NEW_NAMESPACES),)),
        Rule("unshare", EPERM, (Test(0, _NEW_NAMESPACES | _CLONE_NEWTIME),)),
    )


def _given(argument: int) -> Test:
    """A pointer is not NULL. Its low half suffices: no program has a structure at a multiple of 4 GiB."""
    return Test(argument, 0xFFFFFFFF)


def _traced_rules() -> tuple[Rule, ...]:
    """The extra restrictions of a traced process, and the calls that go to the tracer."""
    whole = 0xFFFFFFFF
    return (
        *(Rule(name, EPERM) for name in _FOR_A_TRACER),
        Rule("clone", EPERM, (Test(0, _CLONE_UNTRACED),)),
        Rule("uname", TRACE),
        Rule("sysinfo", TRACE),
        Rule("time", TRACE),
        Rule("gettimeofday", TRACE),
        *(
            Rule("clock_gettime", TRACE, (Test(0, whole, clock),))
            for clock in (_REALTIME, _REALTIME_COARSE, _REALTIME_ALARM, _TAI)
        ),
        *(
            Rule("clock_nanosleep", TRACE, (Test(0, whole, clock), Test(1, _TIMER_ABSTIME)))
            for clock in (_REALTIME, _REALTIME_ALARM, _TAI)
        ),
        Rule("timer_settime", TRACE, (Test(1, _TIMER_ABSTIME),)),
        Rule("timerfd_settime", TRACE, (Test(1, _TIMER_ABSTIME),)),
        Rule("futex", TRACE, (Test(1, _FUTEX_CLOCK_REALTIME), _given(3))),
        Rule("futex", TRACE, (Test(1, _FUTEX_COMMAND, _FUTEX_LOCK_PI), _given(3))),
        Rule("futex_waitv", TRACE, (_given(3), Test(4, whole, _REALTIME))),
        Rule("futex_wait", TRACE, (_given(4), Test(5, whole, _REALTIME))),
        Rule("mq_timedsend", TRACE, (_given(4),)),
        Rule("mq_timedreceive", TRACE, (_given(4),)),
        Rule("utime", TRACE, (_given(1),)),
        Rule("utimes", TRACE, (_given(1),)),
        Rule("futimesat", TRACE, (_given(2),)),
        Rule("utimensat", TRACE, (_given(2),)),
    )


# --- from rules to instructions -------------------------------------------------------------------

_LD, _AND, _JA, _JEQ, _JGE, _JGT, _RET = 0x20, 0x54, 0x05, 0x15, 0x35, 0x25, 0x06
_RET_KILL_PROCESS, _RET_ERRNO, _RET_TRACE, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FF00000, 0x7FFF0000
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16
_ARCH_X86_64: Final = 0xC000003E


class _Instruction:
    def __init__(self, code: int, k: int, if_true: int = 0, if_false: int = 0) -> None:
        self.code, self.k, self.if_true, self.if_false = code, k, if_true, if_false

    def encode(self) -> bytes:
        jumps = bytes((self.if_true, self.if_false))
        return self.code.to_bytes(2, "little") + jumps + self.k.to_bytes(4, "little")


def program() -> bytes:
    """The filter of a build, 8 bytes for each instruction.

    32-bit calls kill the caller. x32 calls and calls newer than this list do not exist (ENOSYS).
    """
    return assembled(rules())


def tracer_program() -> bytes:
    """The filter of an init that traces its build: as `program`, but with the calls that tracing needs."""
    return assembled(tuple(rule for rule in rules() if rule.name not in _FOR_A_TRACER))


def traced_program() -> bytes:
    """The additional filter of traced processes. They also inherit `tracer_program`."""
    return assembled(_traced_rules())


def no_writable_code() -> bytes:
    """A filter for trials: memory is never writable and executable at once (EACCES, as with PR_SET_MDWE)."""
    both = (Test(2, _PROT_WRITE | _PROT_EXEC, _PROT_WRITE | _PROT_EXEC),)
    calls = ("mmap", "mprotect", "pkey_mprotect")
    return assembled(tuple(Rule(name, EACCES, both) for name in calls))


def linux_5_8() -> bytes:
    """A filter for trials: the system calls that came after Linux 5.8 do not exist."""
    return assembled((Rule("close_range", ENOSYS),), last=TRIED_NUMBERS["faccessat2"])


def assembled(found: tuple[Rule, ...], last: int = _LAST_KNOWN) -> bytes:
    """Rules as a BPF program. The first rule of a call whose tests hold decides.

    Args:
        last: the number of the last call that exists.
    """
    numbers = {**_NUMBERS, **TRACED_NUMBERS, **TRIED_NUMBERS}
    by_number: dict[int, list[Rule]] = {}
    for rule in found:
        by_number.setdefault(numbers[rule.name], []).append(rule)
    blocks = [(number, _block(number, by_number[number])) for number in sorted(by_number)]
    code = [
        _Instruction(_LD, _OFFSET_ARCH),
        _Instruction(_JEQ, _ARCH_X86_64, 1, 0),
        _Instruction(_RET, _RET_KILL_PROCESS),
        _Instruction(_LD, _OFFSET_NUMBER),
        _Instruction(_JGT, last, 0, 1),
        _Instruction(_RET, _RET_ERRNO | ENOSYS),
        *_search(blocks),
    ]
    return b"".join(instruction.encode() for instruction in code)


def _search(blocks: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    """A binary search for the block of a system call. The accumulator holds the number of the call."""
    if len(blocks) <= 3:
        return [i for _, block in blocks for i in block] + [_Instruction(_RET, _RET_ALLOW)]
    middle = len(blocks) // 2
    low, high = _search(blocks[:middle]), _search(blocks[middle:])
    # A conditional jump reaches only 255 instructions, an unconditional one any number.
    return [_Instruction(_JGE, blocks[middle][0], 0, 1), _Instruction(_JA, len(low)), *low, *high]


def _block(number: int, found: list[Rule]) -> list[_Instruction]:
    body = [i for rule in found for i in _rule(rule)]
    if found[-1].tests:
        body.append(_Instruction(_RET, _RET_ALLOW))
    return [_Instruction(_JEQ, number, 0, len(body)), *body]


def _rule(rule: Rule) -> list[_Instruction]:
    action = {ALLOW: _RET_ALLOW, TRACE: _RET_TRACE}.get(rule.errno, _RET_ERRNO | rule.errno)
    code = [_Instruction(_RET, action)]
    for test in reversed(rule.tests):
        wanted, on_equal = (0, False) if test.value is None else (test.value, True)
        after = len(code)
        jump = _Instruction(_JEQ, wanted, 0, after) if on_equal else _Instruction(_JEQ, wanted, after, 0)
        code = [
            _Instruction(_LD, _OFFSET_ARGUMENTS + 8 * test.argument),
            _Instruction(_AND, test.mask),
            jump,
            *code,
        ]
    return code
