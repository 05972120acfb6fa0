"""What needs no process: the specification, the operations, the filter as a program, the choice of ids."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest

from hermetic.errors import SandboxError
from hermetic.sandbox import identity, seccomp
from hermetic.sandbox.spec import Bind, Mount, SandboxSpec, Scratch, Seal, operations, request

X86_64, I386 = 0xC000003E, 0x40000003
ALLOW, KILL = "allow", "kill"
SPEC = SandboxSpec(argv=("/bin/sh",), env={})


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"argv": ()}, "absolute path"),
        ({"argv": ("sh",)}, "absolute path"),
        ({"argv": ("/bin/sh", "a\0b")}, "NUL"),
        ({"env": {"A=B": "c"}}, "A=B"),
        ({"env": {"": "c"}}, "environment"),
        ({"env": {"A": "c\0"}}, "environment"),
        ({"cwd": "build"}, "'build'"),
        ({"timeout": 0}, "timeout"),
        ({"processes": 0}, "limit of processes"),
        ({"umask": 0o1777}, "umask"),
        ({"hostname": "x" * 65}, "host name"),
        ({"clock_offset": -1}, "a clock offset must be 0 to"),
        ({"clock_offset": 10**10}, "a clock offset must be 0 to"),
        ({"uid": 0}, "uid"),
        ({"gid": 65534}, "gid"),
        ({"mounts": (Mount("store/x", "/in"),)}, "'store/x'"),
        ({"mounts": (Mount("/s", "/in/../etc"),)}, "'/in/../etc'"),
        ({"mounts": (Mount("/s", "/"),)}, "is reserved: /"),
        ({"mounts": (Mount("/s", "/proc/sys"),)}, "is reserved: /proc/sys"),
        ({"mounts": (Mount("/s", "/dev"),)}, "is reserved: /dev"),
        ({"mounts": (Mount("/s", "/in"), Mount("/t", "/in"))}, "same path of a sandbox: /in"),
        ({"mounts": (Mount("/s", "/in"), Mount("/t", "/in/lib"))}, "/in/lib is below /in"),
        ({"mounts": (Mount("/s", "/in"),), "links": {"/in/sh": "x"}}, "/in/sh is below /in"),
        ({"mounts": (Mount("/s", "/in"),), "files": {"/in/etc/passwd": "x"}}, "/in/etc/passwd is below /in"),
    ],
)
def test_invalid_specification_is_refused_with_the_value(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(SandboxError, match=r".") as caught:
        operations(msgspec.structs.replace(SPEC, **fields))
    assert complaint in caught.value.message


def test_operations_do_not_depend_on_the_order_of_mounts_and_links() -> None:
    mounts = (Mount("/s/1", "/hermetic/a"), Mount("/s/2", "/build", writable=True))
    one = msgspec.structs.replace(SPEC, mounts=mounts, links={"/bin/sh": "a", "/usr/bin/env": "b"})
    other = msgspec.structs.replace(SPEC, mounts=mounts[::-1], links={"/usr/bin/env": "b", "/bin/sh": "a"})
    assert operations(one) == operations(other)


def test_root_is_sealed_last_and_only_asked_mounts_are_writable() -> None:
    ops = operations(msgspec.structs.replace(SPEC, mounts=(Mount("/s", "/in"), Mount("/w", "/build", True))))
    assert ops[-1] == Seal()
    assert [op.target for op in ops if isinstance(op, Scratch)] == ["/tmp", "/dev/shm"]
    assert [op.target for op in ops if isinstance(op, Bind) and op.writable] == ["/build"]
    assert not any(isinstance(op, Bind) and op.target == "/dev/tty" for op in ops)


def decide(program: bytes, number: int, *arguments: int, arch: int = X86_64) -> str | int:
    """What the kernel does with a call: run the BPF program on it. The error's number, or a word."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *(0,) * (6 - len(arguments)))
    code: list[tuple[int, int, int, int]] = list(struct.iter_unpack("<HBBI", program))
    at = value = 0  # the accumulator
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        if operation == 0x20:
            value = struct.unpack_from("<I", data, k)[0]
        elif operation == 0x54:
            value &= k
        elif operation == 0x05:
            at += k
        elif operation == 0x06:
            return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(k & 0xFFFF0000, int(k & 0xFFFF))
        else:
            true = {0x15: value == k, 0x35: value >= k, 0x25: value > k}[operation]
            at += if_true if true else if_false


def test_filter_decides_about_every_call_as_its_rules_say() -> None:
    program = seccomp.program()
    plain = {
        seccomp._NUMBERS[rule.name]: rule.errno
        for rule in seccomp.rules()
        if not rule.tests and rule.name != "socket"
    }
    for number in range(463):
        if number != seccomp._NUMBERS["socket"]:
            assert decide(program, number) == plain.get(number, ALLOW), number
    assert all(decide(program, number) == 38 for number in (463, 1000, 0x40000000, 0x40000027, 0xFFFFFFFF))
    assert all(decide(program, number, arch=I386) == KILL for number in range(463))


@pytest.mark.parametrize(
    ("name", "arguments", "decision"),
    [
        ("chmod", (0, 0o755), ALLOW),
        ("chmod", (0, 0o1777), ALLOW),
        ("chmod", (0, 0o4755), 1),
        ("chmod", (0, 0xFFFF0000_00000000 | 0o2000), 1),
        ("fchmodat2", (0, 0, 0o2755), 1),
        ("openat", (0, 0, 0o101, 0o644), ALLOW),
        ("openat", (0, 0, 0, 0o4755), ALLOW),  # without O_CREAT the mode is whatever was in the register
        ("openat", (0, 0, 0o100, 0o4755), 1),
        ("mknod", (0, 0o100644), ALLOW),
        ("mknod", (0, 0o010644), ALLOW),
        ("mknod", (0, 0o020644), 1),
        ("mknodat", (0, 0, 0o060644), 1),
        ("mknodat", (0, 0, 0o104755), 1),
        ("socket", (1, 1), ALLOW),
        ("socket", (10, 2), ALLOW),
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 9), 97),
        ("socket", (40, 1), 97),
        ("socket", (0x1_0000_0001, 1), ALLOW),  # the kernel looks at 32 bits, and so do we
        ("clone", (0x1200011,), ALLOW),  # fork
        ("clone", (0x3D0F00,), ALLOW),  # a thread
        ("clone", (0x10000011,), 1),
        ("unshare", (0x400,), ALLOW),
        ("unshare", (0x80,), 1),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x1_0000_5412), 1),
    ],
)
def test_filter_looks_at_arguments(name: str, arguments: tuple[int, ...], decision: str | int) -> None:
    assert decide(seccomp.program(), seccomp._NUMBERS[name], *arguments) == decision


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ("0 0 4294967295", 872415300),  # no container
        ("0 100000 65536", 65533),  # a container with its own ids
        ("0 1000 1\n1 100000 200000", 200000),
        ("0 1000 1", None),  # nobody but root exists
        ("0 0 1000", None),
    ],
)
def test_build_id_is_one_that_exists_and_is_nobodys(ids: str, expected: int | None, tmp_path: Path) -> None:
    (tmp_path / "uid_map").write_text(ids)
    assert identity._mapped(str(tmp_path / "uid_map"), 872415300) == expected


def test_a_request_holds_every_field_of_the_specification() -> None:
    """Those that describe the root are operations; the server gets all others by name."""
    of_the_root = {"mounts", "links", "files", "cpuinfo"}
    process = request(SPEC, interactive=False)["process"]
    assert set(process) == {*SandboxSpec.__struct_fields__, "interactive", "outer_ids"} - of_the_root
    assert process["argv"] == ["/bin/sh"]
