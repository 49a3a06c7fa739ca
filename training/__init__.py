"""What every training stage shares: the loop around a trainer, resuming, router metrics,
divergence."""
