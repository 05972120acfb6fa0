"""What a process of hermetic does before it loads the rest, so that it starts and runs fast."""

from __future__ import annotations

import gc
import sys

# What `typing.TYPE_CHECKING` stands for; see `store.quick`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_THRESHOLD: Final = (
    50_000  # objects; there are thousands of derivations and little garbage, so the default looks too often
)
# Modules that msgspec loads for types and formats of which hermetic uses none, with the names that it takes
# from them. They are a third of its loading time.
_UNUSED: Final = {
    "uuid": ("UUID", "SafeUUID"),
    "decimal": ("Decimal",),
    "msgspec._json_schema": ("schema", "schema_components"),
    "msgspec.inspect": (),  # messages about invalid files use it; they load it then
    "msgspec.toml": (),
    "msgspec.yaml": (),
}


def prepare() -> None:
    """Set up the garbage collector of Python, and load pathlib and msgspec."""
    gc.set_threshold(_THRESHOLD)
    _load_pathlib()
    if "msgspec" in sys.modules:
        return
    try:
        _load_without_unused()
    except (ImportError, AttributeError):  # another version, which takes more of them
        import msgspec  # noqa: F401


def _load_pathlib() -> None:
    """Load pathlib without `urllib.parse`, which is slower to load and has what `as_uri` alone calls."""
    late = type(sys)("urllib.parse")
    late.quote_from_bytes = _quote_from_bytes  # type: ignore[attr-defined]
    _load("pathlib", {"urllib.parse": late})


def _quote_from_bytes(data: bytes) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(data)


def _load_without_unused() -> None:
    """Load msgspec with empty modules in the place of those that are unused.

    It takes what it needs from `typing_extensions`, or else from `typing`, which has all of it in every
    Python that hermetic runs on. The former loads `inspect` and more, so it is absent, too.
    """
    empty = {name: _empty(name, names) for name, names in _UNUSED.items()}
    msgspec = _load("msgspec", {"typing_extensions": None, **empty})
    for name in empty:  # so that whoever imports it gets the real one
        vars(msgspec).pop(name.removeprefix("msgspec."), None)


def _load(name: str, instead: dict[str, object]) -> object:
    """Load a module while others stand in for those that are not loaded yet. None: it cannot be imported."""
    hidden = {other: module for other, module in instead.items() if other not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]
    try:
        return __import__(name)
    finally:
        for other in hidden:
            del sys.modules[other]


def _empty(name: str, names: tuple[str, ...]) -> object:
    module = type(sys)(name)
    vars(module).update((n, type(n, (), {"unknown": None})) for n in names)
    return module
