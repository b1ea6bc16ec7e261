"""`video --report`: a page that compares the poses before and after each step."""
