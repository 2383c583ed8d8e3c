"""Whether an answer is the right one: exactly, or by the kind of the right answer; nothing in it is ever executed."""
