"""From the files of an input to units of rows."""
