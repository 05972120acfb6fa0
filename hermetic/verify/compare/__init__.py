"""Compares two trees and says what differs and what it looks like: a path, a time stamp, an order."""

from hermetic.verify.compare.model import BuildFacts, Difference, Kind
from hermetic.verify.compare.render import describe, to_json
from hermetic.verify.compare.tree import compare_trees

__all__ = ["BuildFacts", "Difference", "Kind", "compare_trees", "describe", "to_json"]
