"""Names of cases that are the same in every process."""

import re


def named(value):
    """Return a value's text without addresses: processes share the tests by names."""
    return re.sub(r"( at 0x|\(MT19937\) at 0x|0x)[0-9A-Fa-f]+", "", str(value))
