"""Stereo observations simulated from motion data, in batches, to train and to compare with real detections."""
