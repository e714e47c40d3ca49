"""From input files to units of rows."""
