"""What a judge or a critic is asked, and how its answer is read: messages in, verdicts out. No torch."""
