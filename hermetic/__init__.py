"""Content-addressed, sandboxed, reproducible builds.

What Python programs use is here: `Session`, the values that it returns, the events of a run, and the errors.
Each is loaded when it is first named, because whatever this module imports would delay every command.
"""

# What `typing.TYPE_CHECKING` stands for; see `store.quick`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from hermetic.derivation.step import Instance
    from hermetic.errors import HermeticError
    from hermetic.realize.events import Event, Listener
    from hermetic.session.outcome import Failure, Output, Pending, Realized
    from hermetic.session.session import Session
    from hermetic.session.targets import TargetInfo
    from hermetic.verify.verdict import Report, Verdict

__all__ = [
    "Event",
    "Failure",
    "HermeticError",
    "Instance",
    "Listener",
    "Output",
    "Pending",
    "Realized",
    "Report",
    "Session",
    "TargetInfo",
    "Verdict",
]

_MODULES = {
    "Event": "realize.events",
    "Failure": "session.outcome",
    "HermeticError": "errors",
    "Instance": "derivation.step",
    "Listener": "realize.events",
    "Output": "session.outcome",
    "Pending": "session.outcome",
    "Realized": "session.outcome",
    "Report": "verify.verdict",
    "Session": "session.session",
    "TargetInfo": "session.targets",
    "Verdict": "verify.verdict",
}


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        """Load a public name (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
