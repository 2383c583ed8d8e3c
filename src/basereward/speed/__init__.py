"""How fast each way of computing is, side by side in one process."""
