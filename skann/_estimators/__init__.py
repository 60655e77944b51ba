"""The estimators: what scikit-learn asks of them, and the way of a fit."""
