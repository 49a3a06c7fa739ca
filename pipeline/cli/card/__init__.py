"""The model card that `uphill export` writes beside a checkpoint: what was measured, in words."""
