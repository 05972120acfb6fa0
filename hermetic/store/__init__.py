"""The store: immutable objects named by their content, and what is known about them.

    STORE/<content hash>-<name>-<version>     an object: a tree or a file, read-only, times zero
    STORE/.hermetic/
        version                               of this layout
        db.sqlite                             objects and realisations
        realisations/  manifests/             the same as files, to rebuild the database from
        roots/  temproots/                    what keeps objects alive: for good, and for running processes
        tmp/  trash/  failed/                 work in progress, what waits to be deleted, kept failed builds
        locks/  log/  eval/                   locks, logs of builds, cached evaluations
        download/  download/rejected/         downloads under way, and those with other bytes than expected
        reserve                               space that a collection needs when the disk is full

The arguments why it holds together: `registering` (adding), `protect` (collection beside builds),
`workspaces` (leftovers), `connection` (damage), `sentinel` (altered objects).
"""
