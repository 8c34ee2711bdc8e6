"""Run reports: what each build did and why.  The files beside this one say how."""
