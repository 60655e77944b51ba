"""The process around skann: its libraries, its settings, its generators, its files."""
