"""What X and y are, which rows train and which validate, and y to targets and back."""
