"""A connection to the SQLite file of a store, in WAL mode. Its tables are those of `store.database`.

Damage is looked for at open, at a price that can be paid each time: the file's header and length always, and
a check of the whole whenever the file is not the one that was last found good. In WAL mode the main file
changes only at checkpoints, so its size and time of change, noted in `db.checked`, tell a foreign change from
our own.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from hermetic import filesystem
from hermetic.errors import StoreError
from hermetic.store import flocks

if TYPE_CHECKING:
    import sqlite3

_MAGIC: Final = b"SQLite format 3\0"
_PATIENCE: Final = 60.0  # seconds that a transaction waits for others
_PLAIN: Final = frozenset(b"/-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")  # in URIs
REBUILD: Final = "restore it from the objects and their records with `hermetic store rebuild-db`"

T = TypeVar("T")


class Schema(msgspec.Struct, frozen=True):
    """What tells a store's database from others.

    Attributes:
        application_id, version: numbers in the file's header.
        sql: statements that make the tables.
    """

    application_id: int
    version: int
    sql: str


class Connection:
    """One connection, opened when first needed, safe to use from several threads and after a fork."""

    def __init__(
        self,
        path: Path,
        in_use: Path | None,
        schema: Schema,
        *,
        read_only: bool = False,
        make_room: Callable[[], bool] | None = None,
    ) -> None:
        """
        Args:
            in_use: lock file, held shared while connected; exclusively by who replaces the database.
                None for a database that nobody else knows.
            make_room: called when reading fails; True: it has freed some space, and it is worth to try again.
        """
        self.path = path
        self.read_only = read_only
        self._schema = schema
        self._make_room = make_room
        self._in_use_path = in_use
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._in_use: int | None = None
        self._pid = 0
        self._changed = False

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query.

        Raises:
            StoreError: the database is corrupt or cannot be read.
        """

        def work() -> list[Any]:
            with self._translated():
                return self._connect().execute(sql, parameters).fetchall()

        return self._with_room(work)

    def _with_room(self, work: Callable[[], T]) -> T:
        """Even reading takes some space, for memory that is shared through a file; a full disk has none."""
        with self._mutex:
            try:
                return work()
            except StoreError:
                idle = self._connection is None or not self._connection.in_transaction
                if self._make_room is None or not (idle and self._make_room()):
                    raise
            self.close()
            return work()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone among all processes from its first moment.

        Raises:
            StoreError: the database is corrupt, full, not writable, or another process kept it for a minute.
        """
        with self._mutex, self._translated():
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                if connection.in_transaction:  # else the block has committed, to see it fail
                    connection.execute("COMMIT")
                self._changed = True
            except BaseException:
                if connection.in_transaction:
                    with suppress(Exception):  # the first error is the one to report
                        connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection. The last one out folds the log into the main file."""
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                with self._translated():
                    self._connection.close()
                if self._changed:
                    self._note_good()
            self._connection = None
            self._changed = False
            if self._in_use is not None:
                os.close(self._in_use)
                self._in_use = None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        import sqlite3

        if self._in_use is None and self._in_use_path is not None and not self.read_only:
            self._in_use = flocks.acquire(self._in_use_path, shared=True)
        if not self.path.is_file():
            raise StoreError(f"the store's database {self.path} is missing", hint=REBUILD)
        self._connection = sqlite3.connect(
            self._uri(), uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        self._pid = os.getpid()
        # NORMAL: a loss of power may forget the last transactions, but tears none; objects are synced before.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        return self._connection

    def _uri(self) -> str:
        mode = "rw"
        if self.read_only:
            # Without write access SQLite cannot make WAL mode's shared memory; with no log it needs none.
            log = self._beside("-wal")
            idle = not log.exists() or log.stat().st_size == 0
            mode = "ro&immutable=1" if idle and not os.access(self.path.parent, os.W_OK) else "ro"
        return f"file://{_quoted(os.fsencode(self.path.absolute()))}?mode={mode}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error
        except UnicodeDecodeError as error:  # from SQLite's own message, which quotes what is damaged
            raise corrupt(self.path, f"it holds text that is not UTF-8: {error.object[:80]!r}") from error

    def _explain(self, error: sqlite3.Error) -> StoreError:
        import sqlite3

        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        where = str(self.path)
        can_be_full = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        if code == sqlite3.SQLITE_FULL or (can_be_full and _full(where)):
            return filesystem.full(where, "write")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(
            error, sqlite3.InterfaceError
        ):
            return corrupt(self.path, str(error))
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            hint = "check owner and permissions of the store, and the limit of open files (ulimit -n)"
            return StoreError(f"cannot use {where}: {error}", hint=hint)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(f"{where}: another process has kept it locked for {_PATIENCE:.0f} s")
        if isinstance(error, sqlite3.OperationalError) and "no such" in str(error):
            return corrupt(self.path, str(error))
        hint = "check the disk, and the limits of this process (ulimit -f, -n)"
        return StoreError(f"{where}: {error}", hint=hint if code == sqlite3.SQLITE_IOERR else None)

    def was_left_open(self) -> bool:
        """Whether the last process that had it open was killed, and nobody has it open now.

        To be asked before connecting.
        """
        if self._in_use_path is None or not (self._beside("-wal").exists() or self._beside("-shm").exists()):
            return False
        alone = flocks.acquire(self._in_use_path, wait=False)
        if alone is None:
            return False
        os.close(alone)
        return True

    def check(self) -> None:
        """Find damage; cheap when nobody but hermetic has touched the file.

        Raises:
            StoreError: the database is missing, damaged, not a store's, or of a newer version.
        """
        self._with_room(self._check)

    def _check(self) -> None:
        status = self._check_header()
        if status == self._last_good():
            return
        with self._translated():
            connection = self._connect()
            found = connection.execute("PRAGMA quick_check(3)").fetchall()
            if found != [("ok",)]:
                raise corrupt(self.path, "; ".join(str(row[0]) for row in found))
            self.check_values(connection)
        self._note_good()

    def _check_header(self) -> tuple[int, int]:
        with filesystem.translated(self.path, "read"):
            for path in (self.path, self._beside("-wal"), self._beside("-shm")):
                _refuse_odd(path)
            try:
                with os.fdopen(filesystem.opened(str(self.path)), "rb", buffering=0) as file:
                    header = file.read(100)
                    status = os.fstat(file.fileno())
            except FileNotFoundError:
                raise StoreError(f"the store's database {self.path} is missing", hint=REBUILD) from None
        if len(header) < 100 or not header.startswith(_MAGIC):
            raise corrupt(self.path, f"it does not begin as a database does ({status.st_size} bytes)")
        page = int.from_bytes(header[16:18], "big")
        page = 65536 if page == 1 else page
        pages = int.from_bytes(header[28:32], "big")
        log = self._beside("-wal")
        if status.st_size < page * pages and not (log.exists() and log.stat().st_size):
            raise corrupt(self.path, f"it has {status.st_size} bytes, and should have {page * pages}")
        if int.from_bytes(header[68:72], "big") != self._schema.application_id:
            raise corrupt(self.path, "it is not the database of a store")
        version = int.from_bytes(header[60:64], "big")
        if version > self._schema.version:
            raise StoreError(
                f"{self.path} has schema version {version}; this program knows up to {self._schema.version}",
                hint="use the hermetic that made it, or another store with --store",
            )
        return status.st_size, status.st_mtime_ns

    def check_values(self, connection: sqlite3.Connection) -> None:
        """Find invalid values. Called when the file is not the one that was last found good.

        Raises:
            StoreError: there is one.
        """

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    @property
    def _checked(self) -> Path:
        return self.path.with_name("db.checked")

    def _last_good(self) -> tuple[int, int] | None:
        try:
            size, time = filesystem.whole(str(self._checked), filesystem.NOTE).split()
            return int(size), int(time)
        except (OSError, ValueError):
            return None

    def _note_good(self) -> None:
        if self.read_only or self._in_use_path is None:
            return
        with suppress(OSError, StoreError):  # if it cannot be noted, the next one looks again
            status = self.path.stat()
            filesystem.write_atomically(self._checked, b"%d %d\n" % (status.st_size, status.st_mtime_ns))


def _refuse_odd(path: Path) -> None:
    """SQLite would follow a link, and write to what lies there."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise corrupt(path, f"it is {filesystem.kind(mode)}")


def corrupt(path: Path, what: str) -> StoreError:
    """The error for a damaged database."""
    return StoreError(f"the store's database {path} is corrupt: {what}", hint=REBUILD)


def create_file(path: Path, schema: Schema) -> None:
    """Make a database with empty tables. It appears whole, or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    import sqlite3

    part = path.with_name(f".{os.urandom(6).hex()}.part")
    try:
        with filesystem.translated(path, "create"):
            part.write_bytes(b"")  # SQLite's own words for a missing permission say little
        connection = sqlite3.connect(part, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.executescript(
                f"BEGIN; {schema.sql} PRAGMA application_id={schema.application_id};"
                f" PRAGMA user_version={schema.version}; COMMIT;"
            )
            # Only now: of a log that a full disk keeps from being folded in at close, nothing would be said.
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
        with filesystem.translated(path, "create"):
            part.rename(path)
    except sqlite3.Error as error:
        if _full(os.fspath(path)):
            raise filesystem.full(os.fspath(path), "create") from error
        raise StoreError(f"cannot create {path}: {error}") from error
    finally:
        for left in (part, part.with_name(part.name + "-wal"), part.with_name(part.name + "-shm")):
            with suppress(OSError):
                left.unlink()


def _full(path: str) -> bool:
    with suppress(OSError):
        status = os.statvfs(os.path.dirname(path))  # noqa: PTH120
        return status.f_bavail * status.f_frsize < 64 * 1024
    return False


def _quoted(path: bytes) -> str:
    """A path as a part of a URI (RFC 3986). `urllib.parse` takes longer to load than SQLite."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in path)
