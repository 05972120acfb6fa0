"""Checks of finished interpreters: what the files are (`artefact`), and CPython's own test suite (`suite`).

A check is an effect outside of derivations. Its result is a report, never a store object.
"""
