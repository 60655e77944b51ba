"""A network: built, compiled, described, asked for outputs, saved and brought back."""
