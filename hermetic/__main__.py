"""`python -m hermetic`."""

from hermetic.cli.entry import main

main()
