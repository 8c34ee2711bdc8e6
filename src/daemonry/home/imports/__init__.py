"""Files of other supervisors, as a home: one module for each form."""
