"""Keras' own train step, many times in one loop inside of tensorflow."""

from skann._runtime.start import load

load()
