"""Forms in which preference data are kept in files of one's own: one module each, read as a source."""
