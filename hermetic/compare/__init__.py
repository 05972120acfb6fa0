"""Names the differences between two trees, and the likely cause: a path, a time stamp, an order."""

from hermetic.compare.model import BuildFacts, Difference
from hermetic.compare.render import describe
from hermetic.compare.tree import compare_trees

__all__ = ["BuildFacts", "Difference", "compare_trees", "describe"]
