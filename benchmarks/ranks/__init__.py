"""From which size on more ranks of MPI pay: measured on this machine, and by a model for others."""
