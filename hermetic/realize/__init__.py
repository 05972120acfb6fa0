"""Carries a plan out: fetch, unpack, build in parallel along the graph, register.

`engine` decides what runs when, `steps` does one derivation, `jobserver` shares the cores, `events` is
what the outside is told. A new way of executing builds is a new `steps.Executor`.
"""
