"""What is the same for every build, on every machine and for every caller; see docs/reproducibility.md."""

from __future__ import annotations

import contextlib
import os
import resource
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import Caller
from tests.support.project import Project

# Everything in /proc that can be read: contents of files, and where links lead to.
PROC = """
found = {}
skipped = {"mem", "pagemap", "smaps", "smaps_rollup", "numa_maps", "clear_refs", "kpagecount"}
for folder, folders, files in os.walk("/proc"):
    for name in [*files, *folders]:
        path = f"{folder}/{name}"
        try:
            if os.path.islink(path):
                found[path] = os.readlink(path)
            elif name in files and name not in skipped:
                found[path] = os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1 << 16).decode("latin-1")
        except OSError as error:
            found[path] = errno.errorcode[error.errno]
    if folder.count("/") > 4:
        folders.clear()
"""


def test_no_path_of_the_host_is_in_proc(caller: Caller) -> None:
    folder = caller.folder("a-tell-tale-input")
    mounts = [{"source": str(folder), "target": "/in"}]
    found = caller.probe(PROC + "print(json.dumps(found))", mounts=mounts)
    assert len(found) > 100
    hidden = (str(caller.home), str(caller.shared), folder.name, "site-packages", "__main__.py")
    assert {path: text for path, text in found.items() if any(word in text for word in hidden)} == {}


def test_mounts_are_not_listed(caller: Caller) -> None:
    script = "for p in self 1; do cat /proc/$p/mountinfo /proc/$p/mounts; done; cat /proc/self/mountstats"
    assert caller.output(caller.shell(script)) == ""


def test_paths_are_what_they_are_without_a_list_of_mounts(caller: Caller) -> None:
    folder = caller.folder("input", {"file": ""})
    mounts = [{"source": str(folder), "target": "/in"}]
    script = (
        "cd /in; pwd; realpath .; for l in cwd root; do readlink /proc/self/$l; done; cd ..; pwd; cd ..; pwd"
    )
    assert caller.output(caller.shell(script, mounts=mounts)).split() == ["/in", "/in", "/in", *"///"]


def test_ids_of_the_host_are_unknown(caller: Caller) -> None:
    script = "for p in self 1; do cat /proc/$p/uid_map /proc/$p/gid_map /proc/$p/setgroups; done"
    assert (
        caller.output(caller.shell(script)).split() == ["1000", "1000", "1", "1000", "1000", "1", "deny"] * 2
    )


def test_the_first_process_tells_nothing_of_hermetic(caller: Caller) -> None:
    code = "print(json.dumps([open(f'/proc/1/{name}').read() for name in ('cmdline', 'comm')]))"
    assert caller.probe(code) == ["hermetic-sandbox\0", "hermetic-sandbo\n"]


def test_standard_output_can_be_opened_again_and_loses_nothing(caller: Caller) -> None:
    script = (
        "echo one; echo two > /dev/stderr; echo three >> /dev/stdout; echo four; readlink /proc/self/fd/1"
    )
    *lines, target = caller.output(caller.shell(script)).splitlines()
    assert lines == ["one", "two", "three", "four"]
    assert target.startswith("pipe:")


def test_room_in_memory_does_not_depend_on_the_machine(caller: Caller) -> None:
    code = """
print(json.dumps([[s.f_blocks * s.f_frsize, s.f_files] for s in map(os.statvfs, ("/", "/tmp", "/dev/shm"))]))
"""
    assert caller.probe(code) == [[4 << 30, 1 << 20]] * 3
    script = "dd if=/dev/zero of=/tmp/x bs=1M count=1 2>/dev/null; truncate -s 5G /tmp/y; wc -c < /tmp/x"
    assert caller.output(caller.shell(script)) == "1048576"


LIMITS = {
    "CORE": (0, 0),
    "MEMLOCK": (1 << 20, 1 << 20),
    "MSGQUEUE": (819200, 819200),
    "NICE": (0, 0),
    "NOFILE": (4096, 16384),
    "NPROC": (10241, 10241),
    "RTPRIO": (0, 0),
    "SIGPENDING": (4096, 4096),
    "STACK": (8 << 20, -1),
    **dict.fromkeys(("AS", "CPU", "DATA", "FSIZE", "RSS", "RTTIME"), (-1, -1)),
}


def test_limits_do_not_depend_on_the_caller(caller: Caller) -> None:
    code = f"""
import resource
names = {sorted(LIMITS)}
print(json.dumps({{name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names}}))
"""
    seen = caller.probe(code)
    for name, (soft, hard) in LIMITS.items():
        allowed = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        most = allowed if allowed != -1 else 1 << 62
        expected = [min(limit if limit != -1 else 1 << 62, most) for limit in (soft, hard)]
        assert [limit if limit != -1 else 1 << 62 for limit in seen[name]] == expected, name


def test_soft_limits_and_scores_of_the_caller_are_not_passed_on(caller: Caller) -> None:
    def change() -> None:
        for which, soft in ((resource.RLIMIT_NOFILE, 777), (resource.RLIMIT_SIGPENDING, 777)):
            resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))
        with contextlib.suppress(OSError):  # a process that has changed its user may not
            Path("/proc/self/oom_score_adj").write_text("100")

    script = "ulimit -n; grep 'pending signals' /proc/self/limits; cat /proc/self/oom_score_adj"
    results = []
    for changed in (change, None):
        process = caller.start("run", {"spec": caller.shell(script)}, preexec_fn=changed)
        out, err = process.communicate(timeout=60)
        assert '"exit_status":0' in out.replace(" ", ""), (out, err)
        results.append(out.partition('"log"')[2])
    assert results[0] == results[1]
    assert "4096" in results[0] and "500" in results[0] and "777" not in results[0]


# -- what a rebuild hears of the machine


def asked(caller: Caller, **fields: Any) -> tuple[list[int], list[str]]:
    """The answers of sysinfo and uname."""
    code = """
memory, names = ctypes.create_string_buffer(112), ctypes.create_string_buffer(390)
results = [call(99, memory), call(63, names), call(99, None), call(63, 1), call(99, 8)]
assert results == ["ok", "ok", "EFAULT", "EFAULT", "EFAULT"], results
print(json.dumps([memory.raw.hex(), [n.rstrip(b"\\0").decode() for n in (
    names.raw[at:at + 65] for at in range(0, 390, 65))]]))
"""
    memory, names = caller.probe(code, **fields)
    return list(struct.unpack("=q3Q6QHH4x2QI4x", bytes.fromhex(memory))), names


def test_another_machine_has_half_of_the_memory_and_another_kernel(caller: Caller) -> None:
    here, this_kernel = asked(caller)
    other, other_kernel = asked(caller, other_machine=True)
    total, swap, unit = 4, 8, -1
    assert (other[total], other[swap]) == (here[total] // 2, here[swap] // 2)
    assert here[total] * here[unit] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert other[unit] == here[unit]
    assert abs(other[0] - here[0]) < 60  # the time since it was booted
    version = 3
    assert this_kernel[version] == os.uname().version
    assert other_kernel[version] == "#1 perturbed"
    del this_kernel[version], other_kernel[version]
    assert other_kernel == this_kernel


def test_under_another_clock_alone_the_machine_is_this_one(caller: Caller) -> None:
    here, ahead = asked(caller), asked(caller, clock_offset=10**7)
    assert (here[0][4], here[1]) == (ahead[0][4], ahead[1])
    seconds = caller.output(caller.shell("date +%s; cat /proc/uptime 2>/dev/null || :", other_machine=True))
    assert abs(int(seconds) - int(caller.output(caller.shell("date +%s")))) < 60


# -- as recipes see it


@pytest.mark.parametrize("how", ["realize", "verify"])
def test_a_build_does_not_know_where_the_store_is(project: Project, how: str) -> None:
    project.recipe("lib", ': > "$out/x"')
    script = """
{ cat /proc/[0-9]*/mount* /proc/[0-9]*/cmdline; ls -l /proc/[0-9]*/fd/; env; } > all 2>&1 || :
case $(cat all) in */store/* | *hermetic-elsewhere* | *input-*) cat all; exit 1 ;; esac
: > "$out/x"
"""
    project.recipe("app", script, host_inputs=["lib"])
    project.ok(how, "app")
