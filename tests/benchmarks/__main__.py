"""Measure time and memory: ``python tests/benchmarks``, with the extra ``benchmarks``.

``python tests/benchmarks epoch predict`` runs only these parts. Prints Markdown.
"""

import sys

import light
import limits
import search
import speed

PARTS = {
    "epoch": speed.epochs,
    "predict": speed.predict,
    "iris": speed.iris,
    "setup": limits.setup,
    "light": light.light,
    "memory": limits.memory,
    "mapped": limits.mapped,
    "growth": limits.growth,
    "search": search.search,
    "scikeras": search.scikeras,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
