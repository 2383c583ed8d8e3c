"""What judges write into pairs: critiques, thoughts, and preferences of their own."""
