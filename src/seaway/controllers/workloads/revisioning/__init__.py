"""The writes of ControllerRevisions."""
