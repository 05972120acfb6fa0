"""Carries a plan out: fetch, unpack, build in parallel along the graph, register.

`engine` decides what runs when, `steps` does one derivation, `events` is what the outside is told. A new way
of executing builds is a new `executor.Executor`; the one here is `local`, whose `jobserver` shares the cores.
A new place where outputs may be is a new `substituter.Substituter`; the one here is `store_substituter`.
"""
