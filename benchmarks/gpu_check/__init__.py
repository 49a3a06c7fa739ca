"""Checks of the training code on a GPU, in less than eight minutes; begin with `__main__.py`."""
