"""The command line; every command imports what it needs inside itself."""
