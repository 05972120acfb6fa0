"""Compares two trees and says what differs and what it looks like: a path, a time stamp, an order."""

# Nothing is imported here. A verdict needs `model` alone; `tree`, which loads all that takes files apart, is
# needed only where something differs.
