"""What Keras says of an error, as one line."""

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def one_line(error):
    """Return an error's message without colours, line breaks and call arguments."""
    text = _COLOURS.sub("", str(error)).split("Arguments received by")[0]
    text = " ".join(text.split())
    return text if len(text) <= 500 else f"{text[:497]}..."
