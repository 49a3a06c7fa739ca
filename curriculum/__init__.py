"""The difficulty ledger, prediction and selection. Knows nothing of torch, TRL or vLLM."""
