"""Fingerprints of texts and images: stable hashes of what they say and show, and the search for near ones."""
