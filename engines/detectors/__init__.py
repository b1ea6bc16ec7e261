"""2D detectors: two pictures in, two poses out."""
