"""Little work on a stack of dense layers, in NumPy."""
