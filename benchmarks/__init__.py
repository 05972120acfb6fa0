"""Measures hermetic beside Nix, doing the same work, in one run. See README.md."""
