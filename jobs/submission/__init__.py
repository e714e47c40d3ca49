"""Jobs on a Ray cluster through its Jobs API: submit, follow and cancel them from another machine."""
