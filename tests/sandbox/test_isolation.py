"""What a build can see of the machine: nothing but its inputs."""

from __future__ import annotations

import ctypes
import json
import os
import socket
from pathlib import Path

import pytest

from tests.support.callers import BIN, Caller


def test_no_network_not_even_loopback_of_host(caller: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        name = f"\0hermetic-test-{os.getpid()}"
        unix.bind(name)
        unix.listen()
        code = f"""
import socket
def attempt(family, kind, address, protocol=0):
    try:
        with socket.socket(family, kind, protocol) as s:
            s.settimeout(2)
            s.connect(address)
        return "connected"
    except OSError as error:
        return errno.errorcode[error.errno]
print(json.dumps({{
    "interfaces": [name for _, name in socket.if_nameindex()],
    "loopback": attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {tcp.getsockname()[1]})),
    "outside": attempt(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
    "outside6": attempt(socket.AF_INET6, socket.SOCK_DGRAM, ("2001:db8::1", 53)),
    "abstract": attempt(socket.AF_UNIX, socket.SOCK_STREAM, {name!r}),
    "vsock": attempt(40, socket.SOCK_STREAM, (2, 1)),
    "raw": attempt(socket.AF_PACKET, socket.SOCK_RAW, ("lo", 0)),
    "icmp": attempt(socket.AF_INET, socket.SOCK_RAW, ("127.0.0.1", 0), 1),
    "uevents": attempt(socket.AF_NETLINK, socket.SOCK_RAW, (0, 1), 15),
}}))
"""
        seen = caller.probe(code)
    assert seen == {
        "interfaces": ["lo"],
        "loopback": "ENETUNREACH",
        "outside": "ENETUNREACH",
        "outside6": "EADDRNOTAVAIL",
        "abstract": "ECONNREFUSED",
        "vsock": "EAFNOSUPPORT",
        "raw": "EAFNOSUPPORT",
        "icmp": "EPERM",
        "uevents": "EAFNOSUPPORT",
    }


def test_the_loopback_interface_is_up_where_it_is_asked_for(caller: Caller) -> None:
    code = """
import socket
def attempt(address):
    with socket.socket() as s:
        s.settimeout(2)
        try:
            s.connect(address)
        except OSError as error:
            return errno.errorcode[error.errno]
    return "connected"
with socket.create_server(("127.0.0.1", 0)) as server:
    found = [attempt(server.getsockname()), attempt(("192.0.2.1", 53))]
print(json.dumps(found))
"""
    assert caller.probe(code, loopback=True) == ["connected", "ENETUNREACH"]


def test_programs_of_other_systems_start_where_an_emulator_is_given(caller: Caller) -> None:
    release = tuple(int(number) for number in os.uname().release.split(".")[:2])
    code = """
import subprocess
with open("program.other", "w") as file:
    os.fchmod(file.fileno(), 0o755)
    file.write("echo hello; id -u")
try:
    print(json.dumps(subprocess.run(["./program.other"], stdout=subprocess.PIPE, text=True).stdout))
except OSError as error:
    print(json.dumps(errno.errorcode[error.errno]))
"""
    assert caller.probe(code) == "ENOEXEC"
    found = caller.probe(code, formats=(":other:E::other::/bin/sh:F",))
    assert found == ("hello\n1000\n" if release >= (6, 7) else "ENOEXEC")


def test_no_host_files(caller: Caller) -> None:
    root = "bin build dev etc hermetic proc tmp"
    assert " ".join(caller.output(caller.shell("ls -A /")).split()) == root
    assert caller.output(caller.shell("ls -A /etc")).split() == ["group", "hosts", "nsswitch.conf", "passwd"]
    devices = "fd full null ptmx pts random shm stderr stdin stdout urandom zero"
    assert " ".join(caller.output(caller.shell("ls -A /dev")).split()) == devices
    escapes = "cd /; cd ../../..; ls -A; ls -A /proc/self/root /proc/self/cwd/..; ls -A /proc/1/root || :"
    assert not {"root", "home", "usr", "var", "sys"} & set(caller.output(caller.shell(escapes)).split())


def test_nothing_is_writable_but_its_own_folders(caller: Caller) -> None:
    script = "for d in / /etc /bin /dev /hermetic /proc; do (: > $d/x) 2>/dev/null && echo $d; done; :"
    assert caller.output(caller.shell(script)) == ""
    script = "for d in /build /tmp /dev/shm; do : > $d/x; done"
    assert caller.output(caller.shell(script)) == ""


def test_exact_environment(caller: Caller) -> None:
    env = {"PATH": BIN, "ODD": "a b\nc=d", "EMPTY": ""}
    code = "print(json.dumps({**os.environ}))"
    spec = caller.python_spec("import json\n" + code) | {"env": env}
    seen = json.loads(caller.output(spec))
    seen.pop("LC_CTYPE", None)  # the probe's interpreter sets it for itself
    assert seen == env
    assert caller.output(caller.spec(f"{BIN}/env") | {"env": {"ONE": "1"}}) == "ONE=1"


def test_inputs_are_read_only(caller: Caller) -> None:
    folder = caller.folder("input", {"file": "content"})
    folder.chmod(0o777)
    (folder / "file").chmod(0o666)
    script = """
for command in ': > /in/file' ': > /in/new' 'rm /in/file' 'mv /in/file /in/x' 'chmod 700 /in/file' \
               'touch /in/file' 'ln /in/file /in/y' 'mkdir /in/d' 'rmdir /in' 'mv /in /tmp/in'; do
  sh -c "$command" 2>/dev/null && echo "possible: $command"
done
cat /in/file
"""
    mounts = [{"source": str(folder), "target": "/in"}]
    assert caller.output(caller.shell(script, mounts=mounts)) == "content"
    assert os.listdir(folder) == ["file"]


def test_cannot_remount_inputs_writable(caller: Caller) -> None:
    folder = caller.folder("input", {"file": "content"})
    code = """
MS_REMOUNT_BIND, MS_BIND, CLONE_NEW = 0x1020, 0x1000, 0x10020000
writable = (0x1).to_bytes(8, "little").rjust(16, b"\\0") + bytes(16)
def attempts():
    results = [call(165, b"none", b"/in", None, MS_REMOUNT_BIND, None),
               call(442, -100, b"/in", 0, writable, 32),
               call(165, b"/in", b"/tmp", None, MS_BIND, None)]
    try:
        open("/in/file", "w")
        results.append("written")
    except OSError as error:
        results.append(errno.errorcode[error.errno])
    return results
outside = attempts()
inside = call(272, CLONE_NEW), attempts()
print(json.dumps([outside, *inside]))
"""
    mounts = [{"source": str(folder), "target": "/in"}]
    refused = ["EPERM", "EPERM", "EPERM", "EROFS"]
    assert caller.probe(code, mounts=mounts) == [refused, "EPERM", refused]
    assert (folder / "file").read_text() == "content"


def test_cannot_see_other_store_objects(caller: Caller) -> None:
    store = caller.folder("store")
    for name in ("wanted", "secret"):
        (store / name).mkdir()
        (store / name / f"{name}-file").touch()
    target = "/hermetic/x86_64-linux-musl/wanted"
    mounts = [{"source": str(store / "wanted"), "target": target}]
    found = caller.output(
        caller.shell("find / -xdev; find /hermetic; ls -A " + target + "/..", mounts=mounts)
    )
    assert "wanted-file" in found
    assert "secret" not in found
    assert str(store) not in found


def test_input_that_is_a_symbolic_link_is_refused(caller: Caller) -> None:
    (caller.home / "link").symlink_to("/etc")
    mounts = [{"source": str(caller.home / "link"), "target": "/in"}]
    answer = caller.run(caller.shell(":", mounts=mounts))
    assert "symbolic link" in answer["error"]


def test_missing_input_is_named(caller: Caller) -> None:
    answer = caller.run(caller.shell(":", mounts=[{"source": "/nowhere/zlib", "target": "/in"}]))
    assert "/nowhere/zlib" in answer["error"]
    assert "No such file" in answer["error"]


def test_missing_program_is_named(caller: Caller) -> None:
    answer = caller.run(caller.spec("/bin/nothing"))
    assert "/bin/nothing" in answer["error"]


IDENTITY = """
id; hostname; pwd; umask; ulimit -c; ulimit -s; ulimit -n; ulimit -f
date -u -d @$SOURCE_DATE_EPOCH; stat -c '%n %a %u %g' / /tmp /build /etc/passwd /dev/shm $PATH
ls /proc/self/fd; cat /proc/self/cgroup | sed 's/^[^:]*:[^:]*//' | sort -u
grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status
cut -d' ' -f5-8 /proc/self/stat; cat /etc/passwd; tty; echo $$
"""


def test_fixed_identity_and_clock_independent_output(caller: Caller) -> None:
    env = {"env": {"PATH": BIN, "SOURCE_DATE_EPOCH": "315532800"}}
    first = caller.output(caller.shell(IDENTITY) | env)
    assert first == caller.output(caller.shell(IDENTITY) | env)
    lines = first.splitlines()
    assert lines[:4] == ["uid=1000(build) gid=1000(build)", "localhost", "/build", "0022"]
    assert "CapBnd:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines
    shared = [
        line for line in lines if not line.startswith(BIN)
    ]  # somebody else's when the caller is not root
    assert _SEEN.setdefault("identity", shared) == shared


_SEEN: dict[str, list[str]] = {}  # the same for every caller


def test_inputs_seem_to_be_the_builds_own(caller: Caller) -> None:
    folder = caller.folder("input", {"file": ""})
    mounts = [{"source": str(folder), "target": "/in"}]
    owners = caller.output(caller.shell("stat -c '%u %g' /in /in/file", mounts=mounts)).splitlines()
    if caller.uid == 0 and "1000 1000" not in owners:
        pytest.skip("this file system cannot be mounted with other owners")
    assert owners == ["1000 1000"] * 2


def test_proc_shows_only_own_processes(caller: Caller) -> None:
    names = caller.output(caller.shell("ls -A /proc")).split()
    assert {n for n in names if not n.isdigit()} == {"self", "thread-self"}
    assert {n for n in names if n.isdigit()} <= {str(n) for n in range(1, 10)}
    hidden = "cpuinfo meminfo version cmdline uptime loadavg sys/kernel/random/boot_id"
    assert caller.output(caller.shell(f"cd /proc; cat {hidden} 2>/dev/null; :")) == ""


def test_init_of_a_build_is_out_of_its_reach(caller: Caller) -> None:
    script = """
cd /proc/1
(cat environ maps fd/0 root/etc/passwd cwd/etc/passwd; ls -d fd/0 root/etc cwd/etc; kill -9 1) 2>/dev/null; :
"""
    assert caller.output(caller.shell(script)) == ""


def test_stdin_is_empty(caller: Caller) -> None:
    assert caller.output(caller.shell("wc -c; readlink /proc/self/fd/0")).split() == ["0", "/dev/null"]


def test_no_descriptors_are_inherited(caller: Caller) -> None:
    assert caller.probe("print(json.dumps(sorted(os.listdir('/proc/self/fd'))))") == ["0", "1", "2", "3"]


def test_no_terminal(caller: Caller) -> None:
    assert "possible" not in caller.output(caller.shell("(: < /dev/tty) 2>/dev/null && echo possible; :"))


def test_new_terminals_can_be_opened(caller: Caller) -> None:
    assert caller.probe("a, b = os.openpty(); print(json.dumps(os.ttyname(b)))") == "/dev/pts/0"


def test_ipc_is_its_own(caller: Caller) -> None:
    key, create, remove = 0x68657268, 0o1666, 0
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(key, 4096, create)
    assert segment != -1
    try:
        assert caller.probe(f"print(json.dumps(call(29, {key}, 4096, 0)))") == "ENOENT"
    finally:
        libc.shmctl(segment, remove, None)


def test_aslr_is_off(caller: Caller) -> None:
    script = "sed -n 's/ .*stack.*//p; 1s/ .*//p' /proc/self/maps"
    assert caller.output(caller.shell(script)) == caller.output(caller.shell(script))
    assert caller.output(caller.shell(script, aslr=True)) != caller.output(caller.shell(script, aslr=True))


def test_perturbations_take_effect(caller: Caller) -> None:
    changes = {"hostname": "elsewhere", "umask": 0o077, "uname26": True, "cpuinfo": "model name: abacus\n"}
    seen = caller.output(caller.shell("hostname; umask; uname -r; cat /proc/cpuinfo", **changes)).splitlines()
    assert (seen[0], seen[1], seen[2][:4], seen[3]) == ("elsewhere", "0077", "2.6.", "model name: abacus")


def test_one_cpu_is_all_that_a_build_sees(caller: Caller) -> None:
    assert caller.output(caller.shell("nproc")) == str(len(os.sched_getaffinity(0)))
    assert caller.output(caller.shell("nproc", one_cpu=True)) == "1"


def test_jobserver_pipe_works_inside(caller: Caller) -> None:
    fifo = caller.home / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    end = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(end, b"++")
        mounts = [{"source": str(fifo), "target": "/dev/jobserver", "writable": True}]
        script = "exec 3<>/dev/jobserver; dd bs=1 count=1 2>/dev/null <&3; printf x > /dev/jobserver"
        assert caller.output(caller.shell(script, mounts=mounts)) == "+"
        assert os.read(end, 10) == b"+x"
    finally:
        os.close(end)


def test_work_folder_is_the_callers_again(caller: Caller) -> None:
    work = caller.folder("work", {"before": ""})
    canary = caller.home / "canary"
    canary.touch(mode=0o600)
    (work / "link").symlink_to(canary)
    os.chown(work / "link", caller.uid, caller.uid, follow_symlinks=False)
    mounts = [{"source": str(work), "target": "/build", "writable": True}]
    script = "mkdir -p a/b; : > a/b/c; ln -s /etc/passwd d; chmod 0 a/b/c; rm before; stat -c %u . link"
    assert caller.output(caller.shell(script, mounts=mounts)).split() == ["1000", "1000"]
    owners = {p.lstat().st_uid for p in (work, *work.rglob("*"))}
    assert owners == {caller.uid}
    assert canary.stat().st_uid == os.geteuid()  # a link is given away, never what it points to


@pytest.mark.parametrize("account", ["root"], indirect=True)
def test_store_under_a_private_folder_works_for_root(caller: Caller) -> None:
    private = caller.folder("private")
    private.chmod(0o700)
    (private / "object").mkdir()
    (private / "object" / "file").write_text("reached")
    mounts = [{"source": str(private / "object"), "target": "/in"}]
    assert caller.output(caller.shell("cat /in/file", mounts=mounts)) == "reached"


def test_mounts_do_not_leak_to_host(caller: Caller) -> None:
    seen = caller.drive("mounts", spec=caller.shell("sleep 1"))
    assert seen["before"] == seen["during"] == seen["after"]
    assert str(caller.home) not in Path("/proc/self/mountinfo").read_text()
