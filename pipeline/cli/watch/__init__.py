"""`uphill watch`: a live view of a run that reads its folder alone."""
