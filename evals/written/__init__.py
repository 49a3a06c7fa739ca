"""The suites that this project wrote: hand-written parts, and what composes prompts of them."""
