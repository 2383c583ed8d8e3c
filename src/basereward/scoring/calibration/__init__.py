"""What is removed from a scorer's rewards, and how they become commensurable: fitted, chosen and kept in a file."""
