"""Exports of trained models for the engines; nothing of the program imports this folder."""
