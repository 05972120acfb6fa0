"""How a step says that it was stopped."""


class Cancelled(Exception):
    """The run is being stopped."""
