"""Mutated input of every kind through the whole program; see `__main__` for how to run it.

`world` makes a real project with a realized store; `recipes`, `locks`, `archives`, `commands`, `databases`
and `lists` each damage one part of a copy of it, by the means of `mutate`; `zygote` and `watch` run hermetic
on the copy in a process of its own and see what it writes; `judge` says what was wrong; `report` counts.
"""
