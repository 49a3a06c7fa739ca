"""Small shared nouns: errors, strict configs, atomic files, fingerprints, seeds. Imports nothing of
ours."""
