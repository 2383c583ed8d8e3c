"""One model from many: weights averaged, or taken over by module names, with a report of what came from where."""
