"""The program: commands, pipeline, drawing, files."""
