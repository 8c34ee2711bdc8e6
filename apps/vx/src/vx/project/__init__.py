"""What a project is: read from its manifests, planned into actions.  The files beside this one say how."""
