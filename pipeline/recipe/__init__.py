"""A recipe as people write it: its fields, its lines, and what is wrong with it."""
