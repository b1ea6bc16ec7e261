"""Readers of data sets that are not part of the program."""
