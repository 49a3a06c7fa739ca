"""The one mixture-of-experts definition, its presets, upcycling, adapters and checkpoints."""
