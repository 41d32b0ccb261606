"""One file for each step. A file that was released is never changed."""
