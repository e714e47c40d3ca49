"""Jobs on a Ray cluster through its Jobs API: submitted, followed and cancelled from another machine."""
