"""Small shared modules: errors, strict configs, atomic files, fingerprints, seeds. Imports none of
the other packages."""
