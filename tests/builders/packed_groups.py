"""A nano policy for the tests of the packed forward pass."""

from builders.nano_policies import nano

POLICY = nano(seed=3).train()
