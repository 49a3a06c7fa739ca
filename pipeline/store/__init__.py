"""Records of finished stages, the lock of a run folder, and checks for adopting stages."""
