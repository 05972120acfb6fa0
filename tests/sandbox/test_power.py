"""What a build can do to the machine: nothing. Probes make the system calls themselves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.callers import Caller
from tests.support.processes import eventually, processes


def test_no_setuid_in_store(caller: Caller) -> None:
    code = """
os.umask(0)
os.close(os.open("/build/f", os.O_CREAT | os.O_RDWR))
f = os.open("/build/f", os.O_RDWR)
results = []
for bits in (0o4755, 0o2755, 0o6777):
    results += [
        call(90, b"/build/f", bits), call(91, f, bits), call(268, -100, b"/build/f", bits),
        call(452, -100, b"/build/f", bits, 0), call(2, b"/build/o", os.O_CREAT | os.O_RDWR, bits),
        call(257, -100, b"/build/oa", os.O_CREAT | os.O_RDWR, bits), call(85, b"/build/c", bits),
        call(257, -100, b"/build", os.O_TMPFILE | os.O_RDWR, bits),
        call(133, b"/build/n", 0o100000 | bits, 0), call(259, -100, b"/build/na", 0o100000 | bits, 0),
    ]
how = (os.O_CREAT | os.O_RDWR).to_bytes(8, "little") + (0o4755).to_bytes(8, "little") + bytes(8)
call(83, b"/build/d", 0o6755)
openat2 = call(437, -100, b"/build/o2", how, 24)
print(json.dumps([sorted(set(results)), openat2, oct(os.stat("/build/d").st_mode)]))
"""
    assert caller.probe(code) == [["EPERM"], "ENOSYS", "0o40755"]
    modes = [p.stat().st_mode for p in (caller.home / "build").rglob("*")]
    assert modes and not any(mode & 0o6000 for mode in modes)


def test_ordinary_modes_work(caller: Caller) -> None:
    script = "umask 0; : > f; for m in 755 644 1777 0; do chmod $m f; stat -c %a f; done; mkdir -m 700 d"
    assert caller.output(caller.shell(script)).split() == ["755", "644", "1777", "0"]


def test_no_xattrs(caller: Caller) -> None:
    code = """
open("/build/f", "w").close()
f = os.open("/build/f", os.O_RDWR)
b, p, n = b"value", b"/build/f", b"user.x"
space = ctypes.create_string_buffer(99)
print(json.dumps([
    call(188, p, n, b, 5, 0), call(189, p, n, b, 5, 0), call(190, f, n, b, 5, 0), call(191, p, n, None, 0),
    call(192, p, n, None, 0), call(193, f, n, None, 0), call(194, p, None, 0), call(195, p, None, 0),
    call(196, f, None, 0), call(197, p, n), call(198, p, n), call(199, f, n),
    call(463, -100, p, 0, n, bytes(16), 16),
]))
"""
    assert caller.probe(code) == ["ENOTSUP"] * 12 + ["ENOSYS"]
    assert os.listxattr(caller.home / "build" / "f") == []


def test_no_devices(caller: Caller) -> None:
    code = """
kinds = {"char": 0o020666, "block": 0o060666}
results = [call(133, b"/build/x", mode, device) for mode in kinds.values() for device in (0, 0x103, 0x800)]
results += [call(259, -100, b"/tmp/x", mode, 0) for mode in kinds.values()]
print(json.dumps([sorted(set(results)), call(133, b"/build/fifo", 0o010644, 0)]))
"""
    assert caller.probe(code) == [["EPERM"], "ok"]


def test_no_keyrings(caller: Caller) -> None:
    code = """
print(json.dumps([call(248, b"user", b"k", b"v", 1, -3), call(249, b"user", b"k", None, 0), call(250, 0)]))
"""
    assert caller.probe(code) == ["ENOSYS"] * 3


def test_no_bpf(caller: Caller) -> None:
    assert caller.probe(
        "print(json.dumps([call(321, 0, bytes(64), 64), call(298, bytes(128), 0, -1, -1, 0)]))"
    ) == [
        "EPERM",
        "EPERM",
    ]


def test_no_ptrace(caller: Caller) -> None:
    code = """
child = os.fork()
if child == 0:
    import time
    time.sleep(60)
results = [call(101, 16, child, 0, 0), call(101, 0, 0, 0, 0), call(310, child, None, 0, None, 0, 0),
           call(311, child, None, 0, None, 0, 0), call(438, 0, 0, 0), call(312, 1, child, 0, 0, 0)]
print(json.dumps(results))
"""
    assert caller.probe(code) == ["EPERM"] * 6


def test_no_new_user_namespaces_unless_asked(caller: Caller) -> None:
    code = """
CLONE_NEW = {"user": 0x10000000, "mount": 0x20000, "net": 0x40000000, "time": 0x80}
unshared = {k: call(272, v) for k, v in CLONE_NEW.items()}
cloned = call(56, 0x10000000 | 17, 0, 0, 0, 0)
if cloned == "ok" and os.getppid() not in (0, 1):
    os._exit(0)
print(json.dumps([unshared, cloned, call(435, bytes(88), 88), call(308, 0, 0), call(161, b"/build")]))
"""
    seen = caller.probe(code)
    assert seen == [
        dict.fromkeys(("user", "mount", "net", "time"), "EPERM"),
        "EPERM",
        "ENOSYS",
        "EPERM",
        "EPERM",
    ]


def test_no_mounts_and_no_way_back_to_the_host(caller: Caller) -> None:
    code = """
handle = (8).to_bytes(4, "little") + bytes(124)
print(json.dumps([
    call(165, b"x", b"/tmp", b"tmpfs", 0, None), call(166, b"/proc", 2), call(155, b".", b"."),
    call(161, b"/"), call(428, -100, b"/", 1), call(429, 0, b"", 0, b"", 4), call(430, b"tmpfs", 0),
    call(442, -100, b"/", 0, bytes(32), 32),
    call(303, -100, b"/build", handle, bytes(4), 0), call(304, 0, handle, 0),
]))
"""
    assert caller.probe(code) == ["EPERM"] * 10


def test_machine_cannot_be_changed(caller: Caller) -> None:
    code = """
print(json.dumps([
    call(169, 0xFEE1DEAD, 0x28121969, 0, None), call(246, 0, 0, None, 0), call(175, b"", 0, b""),
    call(313, 0, b"", 0), call(164, bytes(16), None), call(227, 0, bytes(16)), call(170, b"x", 1),
    call(171, b"x", 1), call(167, b"/x", 0),
    call(163, None), call(103, 2, None, 0), call(172, 3), call(323, 0), call(176, b"x", 0),
]))
"""
    assert caller.probe(code) == ["EPERM"] * 14


def test_no_io_uring(caller: Caller) -> None:
    assert (
        caller.probe("print(json.dumps([call(425, 8, bytes(120)), call(426, 0), call(427, 0)]))")
        == ["ENOSYS"] * 3
    )


def test_calls_that_nobody_has_looked_at_do_not_exist(caller: Caller) -> None:
    assert caller.probe("print(json.dumps([call(n) for n in (463, 467, 470, 600)]))") == ["ENOSYS"] * 4


def test_no_capabilities_can_be_had(caller: Caller) -> None:
    code = """
header = (0x20080522).to_bytes(4, "little") + bytes(4)
print(json.dumps([call(126, header, b"\\xff" * 24), call(105, 0), call(106, 0), call(116, 1, bytes(4)),
                  call(92, b"/tmp", 0, 0), call(157, 38, 0, 0, 0, 0)]))
"""
    # setuid and setgid to an id that the namespace does not have: EINVAL. no_new_privs cannot be taken back.
    assert caller.probe(code) == ["EPERM", "EINVAL", "EINVAL", "EPERM", "EINVAL", "EINVAL"]


def test_i386_syscalls_refused(caller: Caller) -> None:
    code = """
import mmap
getpid = bytes((0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3))  # mov eax, 20; int 0x80; ret
def int80():
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(getpid)
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
status = in_child(int80)
print(json.dumps([os.WIFSIGNALED(status) and os.WTERMSIG(status), call(0x40000000 | 39)]))
"""
    assert caller.probe(code) == [signal.SIGSYS, "ENOSYS"]


def test_terminal_cannot_be_typed_into(caller: Caller) -> None:
    code = (
        "a, b = os.openpty(); print(json.dumps([call(16, b, 0x5412, b'x'), call(16, b, 0x541C, bytes(1))]))"
    )
    assert caller.probe(code) == ["EPERM", "EPERM"]


def test_groups_of_the_caller_are_unknown(caller: Caller) -> None:
    assert caller.probe("print(json.dumps(os.getgroups()))") == []
    if caller.uid == 0:  # an ordinary user cannot leave groups; they can only be kept secret
        assert caller.output(caller.shell("grep Groups /proc/self/status")) == "Groups:"


def test_build_users_cannot_signal_host(caller: Caller) -> None:
    marker = f"9876{os.getpid()}"
    holding = caller.start("hold", {"specs": [caller.shell(f"sleep {marker}; :")]})
    try:
        assert eventually(lambda: processes(marker), 10)
        shell, child = processes(f"sleep {marker}; :"), processes(marker)
        status = Path(f"/proc/{child[0]}/status").read_text()
        uids = {line.split()[1] for line in status.splitlines() if line.startswith(("Uid:", "Gid:"))}
        if caller.uid == 0:
            assert all(int(uid) >= 872415232 for uid in uids), status
        else:
            assert uids == {str(caller.uid)}
        assert shell
        # Neither by number, nor all at once: processes of the same caller, in another namespace, live on.
        script = f"for p in {holding.pid} {os.getpid()} {child[0]}; do kill -9 $p 2>&1; done; kill -9 -1; :"
        answer = caller.run(caller.shell(script))
        assert answer["log"].count("No such process") == 4
        assert holding.poll() is None
        assert processes(marker) == child
    finally:
        holding.kill()
        holding.wait()
    assert eventually(lambda: not processes(marker), 5)
