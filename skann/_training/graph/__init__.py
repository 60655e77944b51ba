"""Keras' own train step, many times in one loop inside of tensorflow."""
