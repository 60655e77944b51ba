"""All that a traced function depends on, as a digest."""

from skann._runtime.start import load

load()
