"""`python -m hermetic`."""

from hermetic.cli.main import main

main()
