"""`tollgate invoice`: the group and its commands, a module each."""
