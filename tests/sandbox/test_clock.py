"""A build whose clock is ahead: all its processes see so, wait as long as they should, and end as usual."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import pytest

from hermetic.sandbox import clock, diagnosis
from tests.support.callers import BIN, Caller
from tests.support.processes import eventually, processes

AHEAD: Final = 400 * 86_400 + 12_345
NEAR: Final = 3600  # seconds; a test takes less


def is_ahead(seconds: float) -> bool:
    return abs(seconds - AHEAD - time.time()) < NEAR


@pytest.fixture
def marker() -> str:
    """Seconds to sleep, unlike any other process's."""
    return f"8{time.monotonic_ns() % 10**9}"


def ahead(caller: Caller, script: str, **fields: Any) -> dict[str, Any]:
    return caller.shell(script, clock_offset=AHEAD, **fields)


def probe(caller: Caller, code: str, **fields: Any) -> Any:
    code = "import time\nfrom ctypes import *\n" + code
    return caller.probe(code, clock_offset=AHEAD, timeout=40, **fields)


# -- the time of day


def test_a_static_program_sees_another_time(caller: Caller) -> None:
    seconds, year = caller.output(ahead(caller, "date +%s; date +%Y")).split()
    assert is_ahead(int(seconds))
    assert int(year) > time.gmtime().tm_year
    assert abs(int(caller.output(caller.shell("date +%s"))) - time.time()) < NEAR


def test_every_way_to_ask_for_the_time_is_answered_alike(caller: Caller) -> None:
    code = """
pair = c_long * 2
def asked(function, *before):
    value = pair()
    assert function(*before, byref(value)) == 0
    return value[0]
vsyscall = "[vsyscall]" in open("/proc/self/maps").read()
page = 0xFFFFFFFFFF600000
found = {f"clock {n}": asked(libc.clock_gettime, n) for n in (0, 5, 11)}
found |= {f"call {n}": asked(libc.syscall, c_long(228), n) for n in (0, 5, 11)}
found["python"] = time.time()
value, zone = pair(), c_long(7)
assert libc.gettimeofday(byref(value), byref(zone)) == 0 and zone.value == 0 and 0 <= value[1] < 10**6
found["gettimeofday"] = value[0]
assert libc.syscall(c_long(96), byref(value), None) == 0
found["call of gettimeofday"] = value[0]
libc.time.restype = c_long
found["time"] = libc.time(None)
found["call of time"] = libc.syscall(c_long(201), byref(value))
found["call of time, in memory"] = value[0]
if vsyscall:
    value = pair()
    assert CFUNCTYPE(c_long, c_void_p, c_void_p)(page)(addressof(value), None) == 0
    found["vsyscall of gettimeofday"] = value[0]
    found["vsyscall of time"] = CFUNCTYPE(c_long, c_void_p)(page + 0x400)(None)
print(json.dumps([found, asked(libc.clock_gettime, 1), libc.getauxval(33)]))
"""
    before = time.monotonic()
    found, monotonic, vdso = probe(caller, code)
    assert {name for name, seconds in found.items() if not is_ahead(seconds)} == set()
    assert int(before) <= monotonic <= time.monotonic()
    assert vdso == 0


def test_wrong_questions_get_the_answers_of_the_kernel(caller: Caller) -> None:
    code = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ)
libc.mmap.restype = c_void_p
fixed = libc.mmap(None, c_size_t(4096), 1, 0x22, -1, c_long(0))  # may be read only
results = [call(n, *a) for n, a in (
    (228, (0, None)), (228, (0, 1)), (228, (0, fixed)), (96, (1, None)), (96, (None, 1)), (201, (1,)),
    (96, (None, None)), (228, (99, None)), (230, (0, 1, None, None)), (230, (0, 1, 1, None)),
)]
print(json.dumps([results, call(228, 0, fixed + 4096 - 8)]))
"""
    results, across = probe(caller, code)
    assert results == ["EFAULT"] * 6 + ["ok", "EINVAL", "EFAULT", "EFAULT"]
    assert across == "EFAULT"


def test_all_processes_and_threads_see_it(caller: Caller) -> None:
    code = f"""
import subprocess, threading
found = [time.time()]
read, write = os.pipe()
def forked():
    os.write(write, b"%d " % time.time())
assert in_child(forked) == 0
assert in_child(lambda: in_child(forked)) == 0
pid = os.posix_spawn("{BIN}/date", ["date", "+%s "], {{}}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
assert os.waitpid(pid, 0)[1] == 0
threads = [threading.Thread(target=lambda: found.append(time.time())) for _ in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
found.append(int(subprocess.check_output(["{BIN}/sh", "-c", "{BIN}/date +%s | {BIN}/cat"])))
os.close(write)
found += map(int, os.read(read, 999).split())
print(json.dumps(found))
"""
    found = probe(caller, code)
    assert len(found) == 25
    assert all(map(is_ahead, found))


def test_a_program_that_a_thread_executes_sees_it(caller: Caller) -> None:
    code = f"""
import threading
for _ in range(3):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
threading.Thread(target=os.execv, args=("{BIN}/sh", ["sh", "-c", "echo $$; date +%s; exit 5"])).start()
time.sleep(60)
"""
    answer = caller.run(caller.python_spec("import time\n" + code, clock_offset=AHEAD, timeout=40))
    assert answer["result"]["exit_status"] == 5
    pid, seconds = answer["log"].split()
    assert pid == "2" and is_ahead(int(seconds))


def test_many_arguments_and_a_large_environment(caller: Caller) -> None:
    script = """
i=0; while [ $i -lt 3000 ]; do export v$i=$i; i=$((i+1)); done
echo $(seq 30000) > list; : > one
date -d @$(date +%s) +%s; xargs -s 400000 sh -c 'date +%s; echo $#' < list; env -i "$(which date)" +%s
"""
    first, second, count, bare = caller.output(ahead(caller, script)).split()
    assert all(is_ahead(int(seconds)) for seconds in (first, second, bare))
    assert int(count) > 20_000


# -- waiting


def test_waits_until_a_time_of_day_are_as_long_as_they_should_be(caller: Caller) -> None:
    code = """
class At(Structure):
    _fields_ = [("seconds", c_long), ("nanoseconds", c_long)]
class Timer(Structure):
    _fields_ = [("every", At), ("first", At)]
def due():
    now = time.time_ns() + 200_000_000
    return At(now // 10**9, now % 10**9)
waited = {}
def timed(name, function, wanted):
    begun = time.monotonic()
    result = function()
    waited[name] = [time.monotonic() - begun, result == wanted, result]
raw = lambda *a: call(*[addressof(x) if isinstance(x, Structure) else x for x in a])
space = lambda: create_string_buffer(64)
def semaphore():
    sem, until = space(), due()
    assert libc.sem_init(sem, 0, 0) == 0
    result = libc.sem_timedwait(sem, byref(until))
    return errno.errorcode[get_errno()] if result else "ok"
def condition():
    cond, mutex, until = space(), space(), due()
    libc.pthread_mutex_lock(mutex)
    return errno.errorcode[libc.pthread_cond_timedwait(cond, mutex, byref(until))]
def mutex():
    held, until = space(), due()
    libc.pthread_mutex_lock(held)
    return errno.errorcode[libc.pthread_mutex_timedlock(held, byref(until))]
def timerfd():
    fd = libc.timerfd_create(0, 0)
    assert libc.timerfd_settime(fd, 1, byref(Timer(At(0, 0), due())), None) == 0
    return os.read(fd, 8)[0]
def timer():
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    made = c_void_p()
    assert libc.timer_create(0, None, byref(made)) == 0
    assert libc.timer_settime(made, 1, byref(Timer(At(0, 0), due())), None) == 0
    return signal.sigwait([signal.SIGALRM])
def priority_lock():  # futex(FUTEX_LOCK_PI) of what another thread holds
    import threading
    word, taken, release = c_uint(0), threading.Event(), threading.Event()
    def hold():
        libc.syscall(c_long(202), byref(word), 6, 0, None)
        taken.set()
        release.wait()
        libc.syscall(c_long(202), byref(word), 7, 0, None)
    other = threading.Thread(target=hold)
    other.start()
    taken.wait()
    result = raw(202, addressof(word), 6, 0, due())
    release.set()
    other.join()
    return result
timed("clock_nanosleep", lambda: libc.clock_nanosleep(0, 1, byref(due()), None), 0)
timed("sem_timedwait", semaphore, "ETIMEDOUT")
timed("pthread_cond_timedwait", condition, "ETIMEDOUT")
timed("pthread_mutex_timedlock", mutex, "ETIMEDOUT")
timed("FUTEX_LOCK_PI", priority_lock, "ETIMEDOUT")
timed("timerfd", timerfd, 1)
timed("timer", timer, 14)
timed("relative", lambda: time.sleep(0.2), None)
timed("since start", lambda: libc.clock_nanosleep(1, 1, byref(At(int(time.monotonic()) + 1, 0)), None), 0)
queue = libc.syscall(c_long(240), b"queue", os.O_CREAT | os.O_RDWR, 0o600, None)
if queue >= 0:
    timed("mq_timedreceive", lambda: raw(243, queue, space(), 8192, None, due()), "ETIMEDOUT")
print(json.dumps(waited))
"""
    waited = probe(caller, code)
    since_start = waited.pop("since start")
    assert since_start[1] and since_start[0] < 20
    assert {name for name, (_, right, _) in waited.items() if not right} == set(), waited
    assert {name for name, (seconds, _, _) in waited.items() if not 0.19 < seconds < 20} == set(), waited


def test_an_interrupted_wait_is_taken_up_again(caller: Caller) -> None:
    code = """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
owned, taken, release = c_uint(0), threading.Event(), threading.Event()
def hold():
    libc.syscall(c_long(202), byref(owned), 6, 0, None)
    taken.set()
    release.wait()
other = threading.Thread(target=hold)
other.start()
taken.wait()
count = [0]
def handler(*_):
    count[0] += 1
signal.signal(signal.SIGALRM, handler)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
word = c_uint(3)
def wait(*arguments):  # until it is over; how often it was interrupted, and for how long it took
    now = time.time_ns() + 400_000_000
    until = (c_long * 2)(now // 10**9, now % 10**9)
    begun, tries = time.monotonic(), 1
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    while libc.syscall(c_long(202), *arguments, until, None, -1) == -1 and get_errno() == errno.EINTR:
        tries += 1
    result = errno.errorcode[get_errno()]
    signal.setitimer(signal.ITIMER_REAL, 0)
    return result, time.monotonic() - begun, tries > 1, list(until) == [now // 10**9, now % 10**9]
# The kernel lets the program begin again with the one; with the other it does so itself, from the registers.
found = wait(byref(word), 9 | 256 | 128, 3), wait(byref(owned), 6, 0)
release.set()
other.join()
print(json.dumps([found, count[0]]))
"""
    (by_itself, by_the_kernel), interruptions = probe(caller, code)
    for result, seconds, _, untouched in (by_itself, by_the_kernel):
        assert result == "ETIMEDOUT" and untouched
        assert 0.39 < seconds < 20
    assert [by_itself[2], by_the_kernel[2]] == [True, False]
    assert interruptions >= 2


def test_times_of_files_stay_in_order_however_they_are_set(caller: Caller) -> None:
    code = """
for name in "abcdefgh":
    open(name, "w").close()
now = int(time.time())
given = (c_long * 2)(now, now)
twice = (c_long * 4)(now, 5, now, 7)
assert libc.syscall(c_long(132), b"a", given) == 0
assert libc.syscall(c_long(235), b"b", twice) == 0
assert libc.syscall(c_long(261), -100, b"c", twice) == 0
assert libc.syscall(c_long(280), -100, b"d", twice, 0) == 0
os.utime("e", (now, now))
os.utime("f")
os.utime("g", (100, now + 10**8))
os.utime("h", (now, 1_000_000_000))
assert list(twice) == [now, 5, now, 7]
assert call(280, -100, b"h", 1, 0) == "EFAULT" and call(280, -100, b"none", addressof(twice), 0) == "ENOENT"
print(json.dumps([now, [[int(getattr(os.stat(n), k)) for k in ("st_atime", "st_mtime")] for n in "abcdefgh"],
                  os.stat("d").st_mtime_ns % 1000]))
"""
    now, times, nanoseconds = probe(caller, code)
    real = now - AHEAD
    assert [set(pair) for pair in times[:5]] == [{real}] * 5
    assert 0 <= times[5][1] - real < NEAR
    assert times[6] == [100, now + 10**8]
    assert times[7] == [real, 1_000_000_000]
    assert nanoseconds == 7


def test_what_is_made_after_what_was_touched_is_newer(caller: Caller) -> None:
    script = "touch -d @$(date +%s) source; sleep 1.1; : > made; [ made -nt source ]; echo $?"
    assert caller.output(ahead(caller, script)) == "0"


# -- signals and ends


def test_signals_arrive_and_exit_statuses_are_told_apart(caller: Caller) -> None:
    for script, expected in (
        ("exit 3", (3, None)),
        ("kill -SEGV $$", (None, 11)),
        ("kill -KILL $$", (None, 9)),
        ("kill -TRAP $$", (None, 5)),
        ("trap 'exit 7' TERM; kill -TERM $$; sleep 1", (7, None)),
        ("trap '' TERM; kill -TERM $$; exit 8", (8, None)),
        ("sleep 30 & kill -TERM $!; wait $!; [ $? = 143 ] && exit 9", (9, None)),
        ("sleep 30 & exit 10", (10, None)),
    ):
        result = caller.run(ahead(caller, script, timeout=30))["result"]
        assert (result["exit_status"], result["signal"]) == expected, script


def test_what_is_stopped_stands_still_until_it_is_continued(caller: Caller) -> None:
    code = """
import signal
import threading
def run():
    while True:
        os.write(write, b".")
        time.sleep(0.01)
def count():
    try:
        return len(os.read(read, 65536))
    except BlockingIOError:
        return 0
seen = []
for number in (signal.SIGSTOP, signal.SIGTSTP):
    read, write = os.pipe()
    os.set_blocking(read, False)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # SIGTSTP does not stop an orphaned process group
        for _ in range(3):
            threading.Thread(target=run).start()
        run()
    while not count():
        time.sleep(0.01)
    os.kill(child, number)
    status = os.waitpid(child, os.WUNTRACED)[1]
    count()
    time.sleep(0.3)
    stopped = count()
    os.kill(child, signal.SIGCONT)
    continued = os.WIFCONTINUED(os.waitpid(child, os.WCONTINUED)[1])
    while not count():
        time.sleep(0.01)
    os.kill(child, number)
    os.waitpid(child, os.WUNTRACED)
    os.kill(child, signal.SIGKILL)
    ended = os.waitpid(child, 0)[1]
    seen.append([os.WIFSTOPPED(status) and os.WSTOPSIG(status) == number, stopped, continued, ended])
print(json.dumps(seen))
"""
    assert probe(caller, code) == [[True, 0, True, 9]] * 2


def test_hundreds_of_short_processes_at_once(caller: Caller) -> None:
    script = """
i=0; while [ $i -lt 300 ]; do
    (sh -c 'date +%s' > f$i; [ $((i % 2)) = 0 ] || exit 4) & p="$p $!"; i=$((i+1))
done
bad=0; for one in $p; do wait $one || bad=$((bad+1)); done; echo $bad; cat f* | wc -l; cat f*
"""
    bad, count, *seconds = map(int, caller.output(ahead(caller, script, timeout=50)).split())
    assert (bad, count, len(seconds)) == (150, 300, 300)
    assert all(map(is_ahead, seconds))


def test_processes_that_die_at_any_moment_do_no_harm(caller: Caller) -> None:
    code = """
import signal
for n in range(150):
    child = os.fork()
    if child == 0:
        while True:
            if os.fork() == 0:
                time.time()
                os._exit(0)
            os.wait()
    time.sleep(0.0001 * (n % 20))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == 9
print(json.dumps(time.time()))
"""
    assert is_ahead(probe(caller, code))


def test_orphans_are_reaped_and_nothing_survives(caller: Caller, marker: str) -> None:
    script = f"""
for i in 1 2 3 4 5; do (setsid sh -c 'sleep 0.1' & ); (setsid sleep {marker} &); done; sleep 0.5
cat /proc/[0-9]*/stat | cut -d' ' -f3 | grep -c Z; ls /proc | grep -c '^[0-9]'
"""
    zombies, alive = map(int, caller.output(ahead(caller, script)).split())
    assert zombies == 0 and alive >= 7
    assert processes(marker) == []


def test_a_cancelled_build_ends_at_once(caller: Caller, marker: str) -> None:
    script = f"trap '' TERM INT; setsid sleep {marker} & sh -c 'kill -STOP $$' & sleep {marker}"
    answer = caller.drive("cancel", specs=[ahead(caller, script)] * 3)
    assert [r["cancelled"] for r in answer["results"]] == [True] * 3
    assert processes(marker) == []
    late = caller.run(ahead(caller, script, timeout=0.5))["result"]
    assert late["timed_out"] and late["seconds"] < 10
    assert processes(marker) == []


def test_a_build_ends_with_its_client(caller: Caller, marker: str) -> None:
    holding = caller.start("hold", {"specs": [ahead(caller, f"setsid sleep {marker} & sleep {marker}")] * 2})
    try:
        assert eventually(lambda: len(processes(marker)) == 4, 20)
    finally:
        holding.kill()
        holding.wait()
    assert eventually(lambda: not processes(marker), 5)


# -- power


def test_the_build_has_no_more_power_than_another(caller: Caller) -> None:
    code = """
child = os.fork()
if child == 0:
    time.sleep(60)
traces = [call(101, 16, child, 0, 0), call(101, 0, 0, 0, 0), call(101, 0x4206, 1, 0, 0),
          call(310, child, None, 0, None, 0, 0), call(311, child, None, 0, None, 0, 0)]
escapes = [call(56, 0x800000 | 17, 0, 0, 0, 0), call(435, bytes(88), 88), call(272, 0x10000000)]
def opened(path):
    try:
        return os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        return errno.errorcode[error.errno]
init = [opened("/proc/1/mem"), opened("/proc/1/environ"), opened("/proc/1/fd")]
lines = lambda pid: open(f"/proc/{pid}/status").read().splitlines()
wanted = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs")
power = [sorted({line.split()[1].lstrip("0") for line in lines(pid) if line.startswith(wanted)})
         for pid in (1, os.getpid())]
print(json.dumps([traces, escapes, init, power]))
"""
    traces, escapes, init, power = probe(caller, code)
    assert traces == ["EPERM"] * 5
    assert escapes == ["EPERM", "ENOSYS", "EPERM"]
    assert init == ["EACCES"] * 3
    assert power == [["", "1"]] * 2


def test_a_filter_of_the_builds_own_finds_no_tracer(caller: Caller) -> None:
    code = """
trace = b"".join(bytes((code, 0, jt, jf)) + k.to_bytes(4, "little") for code, jt, jf, k in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 39), (0x06, 0, 0, 0x7FF00000), (0x06, 0, 0, 0x7FFF0000)))
buffer = create_string_buffer(trace)
program = (4).to_bytes(8, "little") + addressof(buffer).to_bytes(8, "little")
assert call(317, 1, 0, program) == "ok"
print(json.dumps([call(39), time.time()]))
"""
    found, seconds = probe(caller, code)
    assert found == "ENOSYS"
    assert is_ahead(seconds)


# -- where it cannot be had


def test_what_cannot_be_executed_is_told_as_ever(caller: Caller) -> None:
    spec = caller.spec("/bin/nothing", clock_offset=AHEAD)
    assert "could not execute /bin/nothing" in caller.run(spec)["error"]
    spec = ahead(caller, "exit 0", cwd="/build/nowhere")
    assert "could not chdir /build/nowhere" in caller.run(spec)["error"]


def test_fails_closed_where_tracing_is_forbidden(caller: Caller) -> None:
    script = "echo ran > /build/ran"
    answer = caller.drive("without_ptrace", spec=ahead(caller, script))
    assert "the rebuild cannot be traced" in answer["error"]
    assert "--no-perturb clock --no-perturb machine" in answer["hint"]
    assert not (caller.home / "build" / "ran").exists()
    assert caller.drive("without_ptrace", spec=caller.shell(script))["result"]["exit_status"] == 0


@pytest.mark.parametrize(
    ("scope", "remedy"), [("2", "sysctl -w kernel.yama.ptrace_scope=1"), ("3", "reboot"), (None, "docker")]
)
def test_refusal_names_the_reason_and_the_remedy(
    scope: str | None, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_setting", lambda name: scope)
    refused = PermissionError(1, "Operation not permitted", "ptrace")
    error = diagnosis.explain({"step": clock.STEP, "errno": 1, "text": str(refused)})
    assert error.hint is not None
    assert remedy in error.hint and "--no-perturb clock" in error.hint
    assert scope is None or f"ptrace_scope is {scope}" in error.message


def test_fails_closed_when_a_program_cannot_be_looked_into(caller: Caller) -> None:
    script = "cp $(which busybox) date; chmod 111 date; ./date +%s; echo went on"
    answer = caller.run(ahead(caller, script))
    assert "the rebuild cannot be traced" in answer["error"]
    assert ", in date" in answer["details"][0]
    log = next(Path(caller.home).glob("log-*")).read_text()
    assert "went on" not in log


def test_an_ordinary_build_does_not_load_the_tracer(caller: Caller) -> None:
    code = "import sys; from hermetic.sandbox import host; print([m for m in sys.modules if 'ptrace' in m])"
    assert caller.popen([caller.python, "-c", code]).communicate(timeout=60)[0].strip() == "[]"
