COMPLETE=fish qctl | source
