"""A filter: what comes in goes to standard error, but for tensorflow's start-up lines.

Run as a script by a bare Python, which imports nothing else of skann's.
"""

import os
import re
import signal

_DATE = rb"(?:[IWE]\d{4} \d\d:\d\d:\d+\.\d+ +\d+ |[\d-]{10} [\d:.]{15}: [IWE] [\w/]+/)"
_PLACE = rb"\w+\.cc:\d+\] "
_TOLD = (
    rb"oneDNN custom operations are on\. .*",
    rb"Could not find cuda drivers on your machine, GPU will not be used\.",
    rb"Unable to register cu(?:DNN|FFT|BLAS) factory: .*",
    rb"computation placer already registered\. .*",
    rb"This TensorFlow binary is optimized to use available CPU instructions .*",
)
_CHATTER = re.compile(
    rb"(?:" + _DATE + _PLACE + rb"(?:" + rb"|".join(_TOLD) + rb")"
    rb"|WARNING: All log messages before absl::InitializeLog\(\) is called .*"
    rb"|To enable the following instructions: .* rebuild TensorFlow with .*)\n"
)
# How they begin, with 0 for each digit.
_BEGINNINGS = [b"I0000 00:", b"W0000 00:", b"E0000 00:", b"0000-00-00 00:"]
_BEGINNINGS += [b"WARNING: All log messages", b"To enable the following"]


def passed_on(pieces):
    """Yield what is to be passed on of pieces of text, as soon as that is known.

    Of a line that may turn out to be one of tensorflow's the rest is waited for.
    """
    text, inside = b"", False
    for piece in pieces:
        text += piece
        while text:
            line, end, _ = text.partition(b"\n")
            if not (end or inside) and _may_be_chatter(line):
                break
            line += end
            text = text[len(line) :]
            if inside or not _CHATTER.fullmatch(line):
                yield line
            inside = not end
    yield text


def _may_be_chatter(line):
    shape = re.sub(rb"\d", b"0", line)
    return any(map(shape.startswith, _BEGINNINGS)) or any(
        beginning.startswith(shape) for beginning in _BEGINNINGS
    )


def _main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It goes by itself, at the end.
    for text in passed_on(iter(lambda: os.read(0, 2**16), b"")):
        while text:
            text = text[os.write(2, text) :]


if __name__ == "__main__":
    _main()
