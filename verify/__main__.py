"""`python -m verify`: the same as the command `lemmata`."""

from verify.cli import main

main()
