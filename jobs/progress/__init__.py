"""How far a run is: counted, shown while it runs, and read again from its output."""
