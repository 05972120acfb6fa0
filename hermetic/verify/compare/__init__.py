"""Names the differences between two trees, and the likely cause: a path, a time stamp, an order."""

# Nothing is imported here. A verdict needs `model` alone; `tree`, which loads all that takes files apart, is
# needed only where something differs.
