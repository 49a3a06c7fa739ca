"""A kind of stage that this folder alone knows: what CONTRIBUTING asks for, and no more."""
