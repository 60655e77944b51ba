"""How much work is worth compiling."""

# Below this many steps, compiling would take longer than the uncompiled graph, which
# takes some 0.5 ms more for each step. Work decides, never a clock, so that the same
# fit always takes the same way.
STEPS_WORTH_COMPILING = 2000

# In NumPy a step of a network of no more parameters takes 0.1 ms more at most. Still
# more steps would be worth it, were it not that other fits use what was compiled.
_SMALL, _TIMES_AS_MANY = 100_000, 2.5


def compiling_pays(n_steps, n_in_numpy=None):
    """Whether so many steps take longer than compiling does.

    As an uncompiled graph, or in NumPy with so many parameters.
    """
    is_small = n_in_numpy is not None and n_in_numpy <= _SMALL
    return n_steps >= STEPS_WORTH_COMPILING * (_TIMES_AS_MANY if is_small else 1)
