source <(COMPLETE=bash qctl)
