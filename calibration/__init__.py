"""Cameras, rigs, rectification, triangulation and calibration; imports nothing else of the program."""
