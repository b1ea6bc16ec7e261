"""The live view for a browser: pictures, the person in space, figures and the health light."""
