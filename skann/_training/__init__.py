"""From a network and data to a trained one: the loop, and what watches it."""
