"""Two running cameras to poses on the screen, for hours: the loop, its window, recording and replay."""
