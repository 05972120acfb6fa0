"""Fault injection: whole `hermetic` processes are struck, and nothing may be lost, wrong or left behind.

    python -m tests.faults [--seed N] [--kills 300] [--full-disk 40] [--report docs/faults.md]

Each case runs real processes on a small real project (`bench`), injects one fault, and then checks what is
promised whatever happens: all that was registered is there and right (`hermetic store verify`), a plain
retry succeeds and gives the same bytes, and no process, mount or work directory is left.

One module a subject: `kills`, `disks`, `network`, `clock`, `crowds`. `victim` is the program that strikes
itself at a chosen instant; `traces` finds what was left behind.
"""
