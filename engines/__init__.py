"""What runs networks: detectors and denoisers."""
