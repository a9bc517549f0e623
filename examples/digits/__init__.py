"""A classifier of scikit-learn's digits when one pixel of an image is private."""
