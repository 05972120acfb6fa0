"""Is a build reproducible? Rebuilds it under varied conditions and compares bit for bit.

`perturb` says what is made different, `rebuild` does it, `verdict` holds what came of it.
"""
