"""The demo's small checkpoints and the scripts that trained them; installed as `corpusmill.demo`."""
