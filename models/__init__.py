"""Skeletons, poses, and what is known about people and noise."""
