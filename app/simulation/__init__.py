"""A simulated person in front of a simulated rig, for the demonstration and for tests."""
