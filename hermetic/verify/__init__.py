"""Is a build reproducible? Builds again, elsewhere and otherwise, and compares bit for bit.

`perturb` says what is made different, `rebuild` does it, `verdict` holds what came of it.
"""
