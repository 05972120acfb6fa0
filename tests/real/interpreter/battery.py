"""Does something real with every part of the interpreter that runs it, using the standard library alone.

usage: python battery.py [WORD]...    only the checks whose name contains one of the words

Works under qemu-user too, which lets no foreign program start itself: children go through the emulator.
Prints a line for each check, and a traceback for each that failed. Exit status: 0 if all passed, otherwise 1.
"""

# It is written for the interpreter under test, whose library is newer than the one that mypy assumes.
# mypy: ignore-errors

from __future__ import annotations

import _imp
import contextlib
import faulthandler
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from checks import check, main

HERE = Path(__file__).resolve().parent
# By the first line that has them: what CPython's Setup.stdlib lists for Linux, but for what is left out.
STATIC_MODULES = {
    (3, 13): """
        _asyncio _bisect _blake2 _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw
        _contextvars _csv _ctypes _curses _curses_panel _datetime _decimal _elementtree _hashlib _heapq
        _interpchannels _interpqueues _interpreters _json _lsprof _lzma _md5 _multibytecodec _multiprocessing
        _opcode _pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha2 _sha3 _socket _sqlite3 _ssl
        _statistics _struct _sysconfig _uuid _zoneinfo array binascii cmath fcntl grp math mmap pyexpat
        readline resource select syslog termios unicodedata zlib""",
    (3, 14): "_hmac _remote_debugging _types _zstd",
    (3, 15): "_math_integer",
}
# What is in packages is not in sys.stdlib_module_names.
SUBMODULES = {
    (3, 13): "concurrent.futures ctypes.util dbm.sqlite3 importlib.resources _pyrepl.main",
    (3, 14): "asyncio.tools compression.zstd concurrent.interpreters string.templatelib",
    (3, 15): "profiling.sampling profiling.tracing",
}


def since(*line: int) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """A check of what this line and those after it have."""
    return check if sys.version_info >= line else lambda function: function


def of_this_line(names: dict[tuple[int, int], str]) -> list[str]:
    """The names that this line has."""
    return [name for line, text in names.items() if sys.version_info >= line for name in text.split()]


# qemu answers for /proc/self, but not for this other name of it: there the emulator itself shows.
INTERPRETER = Path(sys.executable).resolve()
EMULATOR = Path("/proc/thread-self/exe").resolve()
EMULATED = not EMULATOR.samefile(INTERPRETER)
# Whether it loads shared libraries (cpython) or is sealed (cpython-sealed).
LOADS = hasattr(_imp, "create_dynamic")


def run(program: str | Path, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A Python interpreter run to its end; an error if it fails."""
    command = [EMULATOR, program, *args] if EMULATED else [program, *args]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options)


def python(*args: str, **options: object) -> str:
    """Output of this interpreter, run again."""
    return run(INTERPRETER, *args, **options).stdout


def start_children_through_the_emulator(folder: str) -> None:
    """Makes sys.executable something that can be executed here."""
    script = Path(folder, "python")
    script.write_text(f'#!/bin/sh\nexec "{EMULATOR}" "{INTERPRETER}" "$@"\n')
    script.chmod(0o755)
    sys.executable = str(script)


# --- the program itself


@check
def program_is_static() -> None:
    import struct

    data = INTERPRETER.read_bytes()
    assert data[:4] == b"\x7fELF"
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    offset = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    kinds = [struct.unpack_from(order + "I", data, offset + i * size)[0] for i in range(count)]
    assert 2 not in kinds and 3 not in kinds, "PT_DYNAMIC or PT_INTERP"


@check
def tree_holds_no_shared_object_and_no_path_of_the_build() -> None:
    found = []
    for path in Path(sys.base_prefix).rglob("*"):
        if path.is_file() and not path.is_symlink():
            if ".so" in path.suffixes and not (LOADS and path.name == "libz.so.1"):
                found.append(str(path))
            data = path.read_bytes()
            if b"/hermetic/" in data or b"/build/source" in data:
                found.append(str(path))
    assert not found, found


@check
def modules_are_built_in() -> None:
    import asyncio  # noqa: F401  (_asyncio alone comes up half done)
    import importlib

    for name in of_this_line(STATIC_MODULES):
        assert name in sys.builtin_module_names, name
        importlib.import_module(name)


@check
def every_module_of_the_library_imports() -> None:
    import asyncio  # noqa: F401  (as above)
    import importlib
    import warnings

    # What needs another system or Tcl/Tk, and what does things when it is imported.
    absent = (
        "_gdbm _dbm _tkinter tkinter idlelib turtle turtledemo _scproxy _winapi _wmi msvcrt nt winreg "
        "winsound _overlapped antigravity this _aix_support _android_support _ios_support _osx_support _msi"
    )
    warnings.simplefilter("ignore")
    for name in sorted({*sys.stdlib_module_names, *of_this_line(SUBMODULES)} - set(absent.split(" "))):
        importlib.import_module(name)


@check
def extension_modules_that_cannot_be_loaded_are_refused_in_words() -> None:
    import importlib.machinery
    import sysconfig

    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    assert suffixes[0] == sysconfig.get_config_var("EXT_SUFFIX") and "linux-musl" in suffixes[0], suffixes
    assert suffixes[1:] == [".abi3.so", ".so"], suffixes
    if LOADS:
        with tempfile.TemporaryDirectory() as folder:
            glibc = suffixes[0].replace("musl", "gnu")
            for name in (f"wrong{glibc}", "text.abi3.so"):
                Path(folder, name).write_bytes(b"no library")
            sys.path.insert(0, folder)
            for name in ("wrong", "text"):
                try:
                    importlib.import_module(name)
                except ImportError as error:
                    assert "not an ELF file" in str(error) and folder in str(error), error
                else:
                    raise AssertionError("loaded")
            sys.path.remove(folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "fast.abi3.so").write_bytes(b"\x7fELF")
        Path(folder, "both.abi3.so").write_bytes(b"\x7fELF")
        Path(folder, "both.py").write_text("pure = True\n")
        sys.path.insert(0, folder)
        try:
            import both

            assert both.pure
            try:
                import fast  # noqa: F401
            except ImportError as error:
                assert "statically linked" in str(error), error
            else:
                raise AssertionError("loaded")
        finally:
            sys.path.remove(folder)


@check
def malloc_is_mimalloc() -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.realloc.restype = libc.aligned_alloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = libc.free.argtypes = libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
    block = libc.malloc(1000)
    # mallocng would say 1000 exactly; mimalloc gives the size of the class.
    assert libc.malloc_usable_size(block) == 1024, libc.malloc_usable_size(block)
    libc.free(block)
    text = python("-c", "pass", env={**os.environ, "MIMALLOC_VERBOSE": "1"}, stderr=subprocess.STDOUT)
    assert "mimalloc" in text, text


@check
def tree_can_be_moved() -> None:
    import shutil

    with tempfile.TemporaryDirectory() as folder:
        moved = Path(folder, "elsewhere", "with space")
        (moved / "bin").mkdir(parents=True)
        (moved / "lib").symlink_to(Path(sys.base_prefix, "lib"))
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        shutil.copy(INTERPRETER, moved / "bin" / name)
        script = (
            "import sys, sysconfig\n"
            "print(sys.prefix, sysconfig.get_config_var('prefix'), sysconfig.get_path('stdlib'), sep='\\n')"
        )
        prefix, configured, library = run(moved / "bin" / name, "-c", script).stdout.splitlines()
        assert prefix == configured == str(moved) and library.startswith(str(moved)), (
            prefix,
            configured,
            library,
        )


@check
def sysconfig_tells_where_it_stands() -> None:
    import sysconfig

    base = sys.base_prefix
    values = sysconfig.get_config_vars()
    assert values["LIBDIR"] == base + "/lib" and values["BINDIR"] == base + "/bin", values
    of_the_build = re.compile("/PREFIX|/hermetic/[a-z0-9_]+-linux-musl/")
    wrong = {k: v for k, v in values.items() if isinstance(v, str) and of_the_build.search(v)}
    assert not wrong, wrong
    assert (values["CC"], values["AR"], values["LDFLAGS"]) == ("cc", "ar", "")
    assert "-flto" not in values["CFLAGS"], values["CFLAGS"]
    assert Path(sysconfig.get_config_h_filename()).is_file()
    assert Path(sysconfig.get_makefile_filename()).is_file()
    assert sysconfig.get_platform() == f"linux-{platform.machine()}"
    # The GNU triple, without the vendor, and without the ABI of MIPS.
    cpu, *_, kernel, libc = values["HOST_GNU_TYPE"].removesuffix("abi64").split("-")
    assert sys.implementation._multiarch.split("-") == [cpu, kernel, libc], sys.implementation._multiarch


@check
def bytecode_is_unchecked_and_names_no_build_path() -> None:
    import marshal

    for path in (Path(os.__file__).parent / "__pycache__").glob("*.pyc"):
        data = path.read_bytes()
        assert data[4:8] == b"\1\0\0\0", path
        name = marshal.loads(data[16:]).co_filename
        assert not name.startswith("/"), name
    import textwrap

    assert textwrap.dedent.__code__.co_filename == textwrap.__file__


@check
def version_is_neutral() -> None:
    assert platform.python_compiler().startswith("Clang "), platform.python_compiler()
    assert "http" not in sys.version, sys.version
    assert platform.python_build()[0] == "main", platform.python_build()


# --- compression


def _round_trip(compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]) -> None:
    data = b"".join(b"%d static musl " % (i * i) for i in range(20_000))
    packed = compress(data)
    assert len(packed) < len(data) / 2 and decompress(packed) == data


@check
def zlib_round_trip() -> None:
    import gzip
    import zlib

    _round_trip(zlib.compress, zlib.decompress)
    _round_trip(gzip.compress, gzip.decompress)
    assert zlib.crc32(b"123456789") == 0xCBF43926


@check
def bz2_round_trip() -> None:
    import bz2

    _round_trip(bz2.compress, bz2.decompress)


@check
def lzma_round_trip() -> None:
    import lzma

    _round_trip(lzma.compress, lzma.decompress)
    _round_trip(lambda d: lzma.compress(d, check=lzma.CHECK_SHA256, preset=9), lzma.decompress)


@since(3, 14)
def zstd_round_trip() -> None:
    import io
    import tarfile
    import zipfile

    from compression import zstd

    assert zstd.zstd_version_info >= (1, 5, 7)
    _round_trip(zstd.compress, zstd.decompress)
    workers = {zstd.CompressionParameter.nb_workers: 2, zstd.CompressionParameter.checksum_flag: 1}
    assert zstd.CompressionParameter.nb_workers.bounds()[1] > 0, "it was built without threads"
    _round_trip(lambda d: zstd.compress(d, options=workers), zstd.decompress)
    samples = [b"sample %d of what is compressed with a dictionary" % n for n in range(1000)]
    trained = zstd.train_dict(samples, 1024)
    packed = zstd.compress(samples[0], zstd_dict=trained)
    assert zstd.decompress(packed, zstd_dict=trained) == samples[0]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:zst") as tar:
        tar.add(__file__, "battery.py")
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        assert tar.extractfile("battery.py").read() == Path(__file__).read_bytes()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_ZSTANDARD) as written:
        written.write(__file__, "battery.py")
    with zipfile.ZipFile(archive) as read:
        assert read.read("battery.py") == Path(__file__).read_bytes()


@check
def archives() -> None:
    import tarfile
    import zipfile

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a").write_text("hello")
        for mode in "gz", "bz2", "xz":
            with tarfile.open(f"{folder}/a.tar", f"w:{mode}") as tar:
                tar.add(f"{folder}/a", "a")
            with tarfile.open(f"{folder}/a.tar") as tar:
                member = tar.extractfile("a")
                assert member and member.read() == b"hello"
        with zipfile.ZipFile(f"{folder}/a.zip", "w", zipfile.ZIP_LZMA) as archive:
            archive.write(f"{folder}/a", "a")
            assert archive.read("a") == b"hello"


# --- hashes and TLS


@check
def hashlib_vectors() -> None:
    import hashlib
    import hmac

    expected = {
        "md5": "900150983cd24fb0d6963f7d28e17f72",
        "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha3_256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        "blake2s": "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
        "ripemd160": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    }
    for name, digest in expected.items():
        assert hashlib.new(name, b"abc").hexdigest() == digest, name
    with Path(__file__).open("rb") as file:
        assert hashlib.file_digest(file, "sha512").digest_size == 64
    assert hashlib.scrypt(b"", salt=b"", n=16, r=1, p=1)[:4].hex() == "77d65762"
    assert hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 1)[:4].hex() == "120fb6cf"
    assert hmac.new(b"key", b"message", "sha256").hexdigest().startswith("6e9ef29b")


@check
def ssl_handshake_in_memory() -> None:
    import ssl

    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(HERE / "localhost.pem")
    client_context = ssl.create_default_context(cafile=str(HERE / "localhost.pem"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    done: set[object] = set()
    while len(done) < 2:
        for end in client, server:
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
    client.write(b"over TLS")
    assert server.read() == b"over TLS" and client.version() == "TLSv1.3"
    assert ssl.HAS_TLSv1_2 and ssl.HAS_SNI and ssl.HAS_ALPN


@check
def ssl_refuses_an_unknown_certificate() -> None:
    import ssl

    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(HERE / "localhost.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = ssl.create_default_context().wrap_bio(to_client, to_server, server_hostname="localhost")
    try:
        for _ in range(4):
            for end in client, server:
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("accepted")


@check
def ssl_finds_ca_certificates() -> None:
    import ssl

    bundled = Path(ssl.__file__).with_name("cacert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundled)
    assert len(context.get_ca_certs()) > 100
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SSL_CERT_")}
    paths = python(
        "-c", "import ssl; p = ssl.get_default_verify_paths(); print(p.cafile or p.capath)", env=environment
    ).strip()
    assert Path(paths).exists(), paths
    # Where the system has nothing: our own.
    count = python(
        "-c",
        "import ssl; real = ssl._ssl.get_default_verify_paths();"
        "ssl._ssl.get_default_verify_paths = lambda: (real[0], '/nowhere', real[2], '/nowhere');"
        "ssl._OTHER_CAFILES = ssl._OTHER_CAFILES[-1:];"
        "print(len(ssl.create_default_context().get_ca_certs()), ssl.get_default_verify_paths().cafile)",
        env=environment,
    ).split(None, 1)
    assert int(count[0]) > 100 and count[1].strip() == str(bundled), count


# --- databases


@check
def sqlite_full_text_search() -> None:
    import sqlite3

    db = sqlite3.connect(":memory:")
    db.execute("create virtual table t using fts5(body)")
    db.executemany("insert into t values (?)", [("a static interpreter",), ("a shared library",)])
    assert db.execute("select body from t where t match 'static'").fetchall() == [("a static interpreter",)]
    assert db.execute("""select json_extract('{"a": [1, 2]}', '$.a[1]'), sqrt(16)""").fetchone() == (2, 4.0)
    db.create_function("twice", 1, lambda x: 2 * x)
    assert db.execute("select twice(21)").fetchone() == (42,)
    assert sqlite3.threadsafety == 3
    db.commit()
    copy = sqlite3.connect(":memory:")
    db.backup(copy)
    assert copy.execute("select count(*) from t").fetchone() == (2,)


@check
def dbm_in_sqlite_and_plain() -> None:
    import dbm
    import dbm.dumb
    import dbm.sqlite3
    import shelve

    with tempfile.TemporaryDirectory() as folder:
        for module in dbm.sqlite3, dbm.dumb, dbm:
            with module.open(f"{folder}/{module.__name__}", "c") as db:
                db[b"key"] = b"value"
                assert db[b"key"] == b"value"
        with shelve.open(f"{folder}/shelf") as shelf:
            shelf["x"] = [1, 2]
            assert shelf["x"] == [1, 2]


# --- ctypes


@check
def ctypes_pythonapi() -> None:
    import ctypes

    api = ctypes.pythonapi
    api.PyUnicode_FromFormat.restype = ctypes.py_object
    assert api.PyUnicode_FromFormat(b"%s-%d", b"static", ctypes.c_int(7)) == "static-7"
    api.PyLong_AsLong.argtypes = [ctypes.py_object]
    assert api.PyLong_AsLong(42) == 42
    assert ctypes.py_object.in_dll(api, "PyExc_ValueError").value is ValueError
    api.PyErr_SetString.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyErr_SetString.restype = None
    try:
        api.PyErr_SetString(KeyError, b"from C")
    except KeyError as error:
        assert error.args == ("from C",)
    for name in (
        "PyRun_SimpleString",
        "Py_GetVersion",
        "PyEval_SaveThread",
        "PyThreadState_SetAsyncExc",
        "_Py_NoneStruct",
    ):
        ctypes.c_char.in_dll(api, name)


@check
def ctypes_raises_in_another_thread() -> None:
    import ctypes

    seen: list[str] = []

    def spin() -> None:
        try:
            while True:
                time.sleep(0.001)
        except SystemExit:
            seen.append("stopped")

    thread = threading.Thread(target=spin)
    thread.start()
    assert (
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
        )
        == 1
    )
    thread.join(10)
    assert seen == ["stopped"]


@check
def ctypes_c_library() -> None:
    import ctypes
    import ctypes.util

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.strlen(b"twelve bytes") == 12
    buffer = ctypes.create_string_buffer(64)
    libc.snprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]  # what follows is variable
    assert (
        libc.snprintf(buffer, 64, b"%s %.2f", b"pi", ctypes.c_double(3.14159)) == 7
        and buffer.value == b"pi 3.14"
    )
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    libm.cbrt.restype, libm.cbrt.argtypes = ctypes.c_double, [ctypes.c_double]
    assert libm.cbrt(27.0) == 3.0
    assert libc.getpid() == os.getpid()
    assert libc.open(b"/nonexistent/file", 0) == -1 and ctypes.get_errno() == 2
    assert "printed by C" in python(
        "-c", "import ctypes; c = ctypes.CDLL(None); c.printf(b'printed %s', b'by C'); c.fflush(None)"
    )
    try:
        libc.no_such_function  # noqa: B018
    except AttributeError as error:
        assert "no_such_function" in str(error)
    try:
        ctypes.CDLL("libcurl.so.4")
    except OSError as error:
        assert ("libcurl.so.4: No such file" if LOADS else "statically linked") in str(error), error
    else:
        raise AssertionError("loaded")


@check
def ctypes_callback_through_qsort() -> None:
    import ctypes

    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 6)(5, 1, 4, 2, 8, 3)
    ctypes.CDLL(None).qsort(values, 6, ctypes.sizeof(ctypes.c_int), compare_type(lambda a, b: a[0] - b[0]))
    assert list(values) == [1, 2, 3, 4, 5, 8]


@since(3, 14)
def ctypes_complex_numbers() -> None:
    import ctypes
    import ctypes.util

    kind = ctypes.CFUNCTYPE(ctypes.c_double_complex, ctypes.c_double_complex)
    assert kind(lambda z: z * 1j)(1 + 2j) == -2 + 1j
    assert len(ctypes.util.dllist()) == 1, "the program itself"


@check
def ctypes_structs_by_value() -> None:
    import ctypes

    class Division(ctypes.Structure):
        _fields_ = (("quotient", ctypes.c_int), ("remainder", ctypes.c_int))

    libc = ctypes.CDLL("libc.so.6")
    libc.div.restype = Division
    result = libc.div(17, 5)
    assert (result.quotient, result.remainder) == (3, 2)

    class WideDivision(ctypes.Structure):
        _fields_ = (("quotient", ctypes.c_int64), ("remainder", ctypes.c_int64))

    libc.lldiv.restype, libc.lldiv.argtypes = WideDivision, [ctypes.c_int64, ctypes.c_int64]
    result = libc.lldiv(17 << 40, 5)
    assert (result.quotient, result.remainder) == divmod(17 << 40, 5)


@check
def ctypes_numbers_of_all_widths() -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(100)
    libc.snprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]  # the others are variable
    wide, small, extended = ctypes.c_int64(-(2**62) - 1), ctypes.c_int(-7), ctypes.c_longdouble(0.5)
    libc.snprintf(buffer, 100, b"%d %lld %g %Lg %lld", small, wide, ctypes.c_double(2.5), extended, wide)
    assert buffer.value == b"-7 -4611686018427387905 2.5 0.5 -4611686018427387905", buffer.value
    for kind, name in (
        (ctypes.c_double, "floor"),
        (ctypes.c_float, "floorf"),
        (ctypes.c_longdouble, "floorl"),
    ):
        function = getattr(libc, name)
        function.restype, function.argtypes = kind, [kind]
        assert function(-2.5) == -3.0, name
    libc.llabs.restype, libc.llabs.argtypes = ctypes.c_int64, [ctypes.c_int64]
    assert libc.llabs(-(2**40)) == 2**40


@check
def ctypes_callbacks_take_and_give_everything() -> None:
    import ctypes

    class Point(ctypes.Structure):
        _fields_ = (("x", ctypes.c_double), ("tag", ctypes.c_int8), ("y", ctypes.c_float))

    class Large(ctypes.Structure):
        _fields_ = (("words", ctypes.c_int64 * 5),)

    prototype = ctypes.CFUNCTYPE(
        ctypes.c_double,
        ctypes.c_int8,
        ctypes.c_double,
        Point,
        Large,
        ctypes.c_float,
        ctypes.c_int64,
        ctypes.c_uint16,
    )

    seen = []

    @prototype
    def callback(small, real, point, large, single, wide, unsigned):
        seen.append((small, real, point.x, point.tag, point.y, sum(large.words), single, wide, unsigned))
        return real + point.x

    # Called as C calls it: arguments are written and read, and the result travels back.
    function = prototype(ctypes.cast(callback, ctypes.c_void_p).value)
    large = Large((ctypes.c_int64 * 5)(1, 2, 3, 4, 2**40))
    assert function(-3, 0.25, Point(0.5, 5, 1.5), large, 2.0, 7 << 32, 65535) == 0.75
    assert seen == [(-3, 0.25, 0.5, 5, 1.5, 2**40 + 10, 2.0, 7 << 32, 65535)], seen
    many = [ctypes.CFUNCTYPE(ctypes.c_int)(lambda i=i: i) for i in range(3000)]  # more than a page of them
    assert [f() for f in many] == list(range(3000))


@check
def ctypes_times_have_64_bits() -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    libc.time.restype = ctypes.c_int64
    assert abs(libc.time(None) - time.time()) < 100
    moment = (ctypes.c_int64 * 2)()
    assert libc.clock_gettime(0, moment) == 0 and abs(moment[0] - time.time()) < 100
    libc.gmtime.restype = ctypes.POINTER(ctypes.c_int)
    year = libc.gmtime(ctypes.byref(ctypes.c_int64(2**33)))[5]
    assert year == 2242 - 1900, year


# --- terminals


@check
def readline_binds() -> None:
    import readline
    import rlcompleter  # noqa: F401

    assert readline.backend == "editline"
    readline.parse_and_bind("bind ^I rl_complete")
    readline.add_history("first line")
    assert readline.get_history_item(1) == "first line" and readline.get_current_history_length() == 1
    with tempfile.TemporaryDirectory() as folder:
        readline.write_history_file(f"{folder}/history")
        readline.clear_history()
        readline.read_history_file(f"{folder}/history")
        assert readline.get_current_history_length() == 1


@check
def curses_knows_terminals() -> None:
    script = "import curses; curses.setupterm(fd=1); print(curses.tigetnum('colors'), curses.tigetstr('cup'))"
    for terminal, colors in (
        ("xterm", "8"),
        ("xterm-256color", "256"),
        ("linux", "8"),
        ("screen", "8"),
        ("vt100", "-1"),
    ):
        with tempfile.TemporaryDirectory() as nothing:
            output = python(
                "-c", script, env={**os.environ, "TERM": terminal, "TERMINFO": nothing, "HOME": nothing}
            )
        assert output.split()[0] == colors and "\\x1b[" in output, (terminal, output)


@check
def curses_draws_on_a_terminal() -> None:
    import pty

    script = (
        "import curses, curses.panel, curses.ascii\n"
        "def main(w):\n"
        "    p = curses.panel.new_panel(w.derwin(3, 20, 0, 0))\n"
        "    w.addstr(1, 2, 'drawn \\u00e9\\u4e2d'); p.show()\n"
        "    curses.panel.update_panels(); curses.doupdate(); w.refresh()\n"
        "curses.wrapper(main)\n"
    )
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LC_ALL="C.UTF-8")
        os.execv(sys.executable, [sys.executable, "-c", script])
    seen = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and "drawn é中".encode() in seen, seen


# --- numbers, data, text


@check
def decimal_in_c() -> None:
    import decimal

    assert decimal.__file__.endswith(".py") and hasattr(decimal, "HAVE_THREADS") and "_decimal" in sys.modules
    decimal.getcontext().prec = 50
    assert str(decimal.Decimal(2).sqrt()) == "1.4142135623730950488016887242096980785696718753769"


@check
def floating_point() -> None:
    import cmath
    import math
    import statistics

    assert math.fma(10.0, 10.0, -100.0) == 0.0
    tiny = sys.float_info.min
    assert math.copysign(1.0, math.fma(-tiny, tiny, 0.0)) == -1.0 or math.fma(-tiny, tiny, 0.0) == 0.0
    assert math.copysign(1.0, math.fma(tiny, -tiny, -0.0)) == -1.0
    assert math.gamma(0.5) ** 2 - math.pi < 1e-14 and math.isclose(abs(cmath.exp(1j)), 1.0)
    assert float("1e-320").hex() == "0x0.00000000007e8p-1022" and repr(0.1 + 0.2) == "0.30000000000000004"
    assert round(2.5) == 2 and f"{1e22:.0f}" == "10000000000000000000000"
    assert math.nextafter(1.0, 2.0) - 1.0 == sys.float_info.epsilon
    assert statistics.fmean([1.0, 2.0, 3.0]) == 2.0


@check
def expat_and_elementtree() -> None:
    import xml.etree.ElementTree as ElementTree
    import xml.parsers.expat

    seen = []
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: seen.append((name, attributes))
    parser.Parse("<?xml version='1.0' encoding='iso-8859-1'?><a b='\xe9'/>".encode("latin-1"), True)
    assert seen == [("a", {"b": "é"})]
    assert ElementTree.fromstring("<x><y>1</y><y>2</y></x>").findall("y")[1].text == "2"


@check
def uuid_and_random() -> None:
    import random
    import secrets
    import uuid

    assert "_uuid" in sys.modules and uuid.uuid1().version == 1
    assert uuid.uuid5(uuid.NAMESPACE_DNS, "python.org") == uuid.UUID("886313e1-3b8a-5372-9b90-0c9aee199e5d")
    assert random.Random(1).random() == 0.13436424411240122
    assert len(secrets.token_bytes(33)) == 33


@check
def text_encodings_and_regex() -> None:
    import locale
    import re
    import unicodedata

    for codec in "gb18030", "shift_jisx0213", "euc_kr", "big5hkscs", "cp1252", "utf-16", "idna", "punycode":
        assert (
            "漢字".encode("gb18030").decode("gb18030") == "漢字"
            and "abc".encode(codec).decode(codec) == "abc"
        ), codec
    assert unicodedata.normalize("NFD", "é") == "e\u0301" and unicodedata.name("中").startswith("CJK")
    assert re.findall(r"(?<=\s)\w+(?:-\w+)*", " fully-static musl") == ["fully-static", "musl"]
    locale.setlocale(locale.LC_ALL, "")
    assert sys.getfilesystemencoding() == "utf-8"


@check
def zoneinfo_and_time() -> None:
    import datetime
    import zoneinfo

    with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError):
        zoneinfo.ZoneInfo("No/Such_Zone")
    with tempfile.TemporaryDirectory() as folder:
        # A zone file of version 2 with nothing but a rule: Central European Time.
        header = b"TZif2" + bytes(15) + b"\0\0\0\0" * 3 + b"\0\0\0\0" + b"\0\0\0\1" + b"\0\0\0\4"
        body = (3600).to_bytes(4, "big") + b"\0\0" + b"CET\0"
        Path(folder, "Test").write_bytes(header + body + header + body + b"\nCET-1CEST,M3.5.0,M10.5.0/3\n")
        zoneinfo.reset_tzpath([folder])
        zone = zoneinfo.ZoneInfo("Test")
        assert datetime.datetime(2025, 7, 1, tzinfo=zone).utcoffset() == datetime.timedelta(hours=2)
        zoneinfo.reset_tzpath()
    script = "import time; time.tzset(); print(time.tzname[1], time.localtime(1751328000).tm_hour)"
    assert python("-c", script, env={**os.environ, "TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}).split() == [
        "CEST",
        "2",
    ]
    assert time.strptime("2025-01-02", "%Y-%m-%d").tm_yday == 2
    assert datetime.datetime.now(datetime.UTC).year >= 2024


# --- threads and processes


def _deep(levels: int) -> object:
    import json

    return json.loads("[" * levels + "]" * levels)


@check
def threads_have_deep_stacks() -> None:
    import json

    levels = 700 if platform.machine() == "s390x" else 900  # CPython 3.13 permits 800 levels of C there
    results: list[object] = []

    def work() -> None:
        results.append(json.dumps(_deep(levels)))
        results.append(repr(_deep(levels)))
        results.append(eval("(" * 90 + "1" + ")" * 90))
        results.append(compile("-" * levels + "1", "deep", "eval"))

        def down(n: int) -> int:
            return 0 if n == 0 else 1 + max([down(n - 1)], key=lambda x: x)

        results.append(down(200))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(results) == 5, len(results)
    sys_info = sys._getframe  # the main thread as well
    assert sys_info() and len(json.dumps(_deep(levels))) == 2 * levels


@since(3, 14)
def recursion_ends_before_the_stack_does() -> None:
    script = """if True:
        import sys, threading
        nested = []
        for _ in range(500_000):
            nested = [nested]
        ended = []
        def recurse():
            try:
                repr(nested)
            except RecursionError:
                ended.append(threading.current_thread().name)
        for size in (256 << 10, 8 << 20):
            threading.stack_size(size)
            thread = threading.Thread(target=recurse, name=f"with {size}")
            thread.start()
            thread.join()
        recurse()
        print(*ended, sep=", ")
    """
    for command in ('exec "$@"', 'ulimit -s 1024; exec "$@"'):
        starter = ["/bin/sh", "-c", command, "sh", sys.executable, "-c", script]
        done = subprocess.run(starter, text=True, capture_output=True)
        assert done.stdout == "with 262144, with 8388608, MainThread\n", (command, done)


@check
def threads_share_work() -> None:
    import concurrent.futures
    import queue

    jobs: queue.Queue[int] = queue.Queue()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for value in pool.map(lambda x: x * x, range(200)):
            jobs.put(value)
    assert jobs.qsize() == 200
    semaphore = threading.Semaphore(0)
    assert not semaphore.acquire(timeout=0.01)


@check
def fork_while_other_threads_allocate() -> None:
    """A lock that another thread holds must be free in the child: mimalloc's, and those of wide atomics."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.realloc.restype, libc.realloc.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    sizes = (24, 700, 5000, 70_000, 3_000_000, 40_000_000)

    def allocate() -> None:  # ctypes gives the GIL away for each call
        for size in sizes:
            libc.free(libc.realloc(libc.malloc(size), 2 * size))

    def work() -> None:
        while not done.is_set():
            allocate()

    done = threading.Event()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                allocate()
                again = threading.Thread(target=allocate)
                again.start()
                again.join()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _square(x: int) -> int:
    return x * x


def _fill(items: object, array: object) -> None:
    array[0] = 42
    items.put(os.getpid())


def _multiprocess(method: str) -> None:
    import multiprocessing

    context = multiprocessing.get_context(method)
    items, array = context.Queue(), context.Array("i", 1)
    process = context.Process(target=_fill, args=(items, array))
    process.start()
    assert items.get(timeout=120) == process.pid and array[0] == 42
    process.join()
    assert process.exitcode == 0
    with context.Pool(2) as pool:
        assert pool.map(_square, range(20)) == [x * x for x in range(20)]
    semaphore = context.BoundedSemaphore(2)
    assert semaphore.acquire() and semaphore.get_value() == 1


@check
def multiprocessing_by_fork() -> None:
    _multiprocess("fork")


@check
def multiprocessing_by_spawn() -> None:
    _multiprocess("spawn")


@check
def multiprocessing_by_forkserver() -> None:
    _multiprocess("forkserver")


@check
def shared_memory() -> None:
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(create=True, size=64)
    try:
        other = shared_memory.SharedMemory(block.name)
        block.buf[:4] = b"seen"
        assert bytes(other.buf[:4]) == b"seen"
        other.close()
    finally:
        block.close()
        block.unlink()


@check
def subprocesses() -> None:
    process = subprocess.Popen(
        ["/bin/sh", "-c", "read x; echo $x; echo err >&2; exit 3"], text=True, stdin=-1, stdout=-1, stderr=-1
    )
    assert process.communicate("in\n", timeout=60) == ("in\n", "err\n") and process.returncode == 3
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["/nonexistent/program"])
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 4"], dict(os.environ))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4


@check
def asyncio_streams_and_subprocess() -> None:
    import asyncio

    async def main() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"line\n")
        line = await reader.readline()
        writer.close()
        server.close()
        process = await asyncio.create_subprocess_exec("/bin/echo", "sub", stdout=subprocess.PIPE)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.01))
        return line + (await process.communicate())[0]

    assert asyncio.run(main()) == b"line\nsub\n"


@check
def sockets() -> None:
    import select
    import socket

    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_UNIX, f"\0hermetic-battery-{os.getpid()}"),
    ):
        with socket.socket(family) as listener, socket.socket(family) as client:
            listener.bind(address)
            listener.listen()
            client.connect(listener.getsockname())
            server, _ = listener.accept()
            with server:
                client.sendall(b"ping")
                assert select.select([server], [], [], 10)[0] and server.recv(9) == b"ping"
    assert socket.has_ipv6 and socket.getaddrinfo("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)
    assert socket.getaddrinfo("localhost", 80)


@check
def signals_and_faulthandler() -> None:
    seen = []
    old = signal.signal(signal.SIGUSR1, lambda *_: seen.append("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old)
    assert seen == ["usr1"]
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        assert b"signals_and_faulthandler" in file.read()


@check
def mmap_and_resource() -> None:
    import mmap
    import resource

    with mmap.mmap(-1, 1 << 16) as region:
        region[:5] = b"bytes"
        assert region.find(b"tes") == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    assert os.sched_getaffinity(0) and len(os.getrandom(8)) == 8
    with os.fdopen(os.memfd_create("x"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 4096)


@check
def subinterpreters() -> None:
    import _interpreters

    other = _interpreters.create()
    assert _interpreters.run_string(other, "import json, sqlite3; assert json.loads('[1]') == [1]") is None
    _interpreters.destroy(other)


@since(3, 14)
def another_process_is_debugged() -> None:
    if EMULATED:
        return  # qemu does not let one program read the memory of another
    with tempfile.TemporaryDirectory() as folder:
        script, done = Path(folder, "script.py"), Path(folder, "done")
        script.write_text(f"import pathlib; pathlib.Path({str(done)!r}).write_text('here')")
        waiting = "import sys, time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)"
        with subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE) as process:
            try:
                process.stdout.readline()
                sys.remote_exec(process.pid, str(script))
                deadline = time.monotonic() + 60
                while not done.exists() and time.monotonic() < deadline:
                    time.sleep(0.05)
            finally:
                process.kill()
        assert done.read_text() == "here"


@since(3, 14)
def interpreters_run_beside_each_other() -> None:
    from concurrent import futures, interpreters

    queue = interpreters.create_queue()
    with contextlib.closing(interpreters.create()) as other:
        other.prepare_main(queue=queue)
        other.exec("queue.put(6 * 7)")
        assert queue.get() == 42
    with futures.InterpreterPoolExecutor(2) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]


# --- the tools around


@check
def venv_and_pip() -> None:
    wheel = next((Path(os.__file__).parent / "ensurepip" / "_bundled").glob("pip-*.whl"))
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with tempfile.TemporaryDirectory() as folder:
        python("-m", "venv", "--without-pip", f"{folder}/v")
        inside = f"{folder}/v/bin/python"
        prefix, base = run(inside, "-c", "import sys; print(sys.prefix, sys.base_prefix)").stdout.split()
        assert prefix == f"{folder}/v" and base == sys.base_prefix, (prefix, base)
        run(inside, f"{wheel}/pip", "install", str(wheel), env=environment)
        lines = run(inside, "-m", "pip", "debug", "--verbose", env=environment, stderr=-3).stdout.splitlines()
        tags = {
            line.strip()
            for line in lines[[line.startswith("Compatible tags") for line in lines].index(True) :]
        }
        assert "py3-none-any" in tags and not any("manylinux" in t for t in tags), tags
        assert any("-musllinux_1_2_" in t for t in tags) == LOADS, tags
        if not EMULATED:  # ensurepip starts the interpreter of the new environment
            python("-m", "venv", f"{folder}/w")
            subprocess.check_output([f"{folder}/w/bin/pip", "--version"], text=True)


@check
def compileall_and_zipapp() -> None:
    import compileall
    import zipapp

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "app")
        source.mkdir()
        (source / "__main__.py").write_text("print('from a zip')\n")
        assert compileall.compile_dir(source, quiet=1)
        zipapp.create_archive(source, f"{folder}/app.pyz")
        assert python(f"{folder}/app.pyz") == "from a zip\n"


@check
def tracebacks_show_source() -> None:
    process = subprocess.run(
        [sys.executable, "-c", "import json; json.loads('{')"], text=True, capture_output=True
    )
    assert (
        process.returncode == 1
        and "decoder.py" in process.stderr
        and "self.scan_once(s, idx)" in process.stderr
    ), process.stderr


@check
def scripts_run_where_they_stand() -> None:
    binaries = Path(sys.base_prefix, "bin")
    config = subprocess.check_output([binaries / "python3-config", "--prefix"], text=True).strip()
    assert Path(config) == Path(os.path.realpath(sys.base_prefix)), config
    if not EMULATED:
        assert "built-in" in subprocess.check_output([binaries / "pydoc3", "zlib"], text=True)


@check
def interactive_prompt() -> None:
    process = subprocess.run(
        [sys.executable, "-i", "-q"], input="print(6 * 7)\n", text=True, capture_output=True, timeout=120
    )
    assert "42" in process.stdout, process


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder_of_script:
        if EMULATED:
            start_children_through_the_emulator(folder_of_script)
        status = main(sys.argv[1:])
    sys.exit(status)
