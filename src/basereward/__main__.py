"""``python -m basereward``, for torchrun."""

from basereward.cli.main import main

main()
