"""Names the differences between two trees, and the likely cause: a path, a time stamp, an order."""

from hermetic.verify.compare.model import BuildFacts, Difference
from hermetic.verify.compare.render import describe
from hermetic.verify.compare.tree import compare_trees

__all__ = ["BuildFacts", "Difference", "compare_trees", "describe"]
