"""params.yaml and machine.yaml: their schema, how they are read, what can be checked before a run."""
