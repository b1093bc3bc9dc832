"""Many processes on one port that share one watch: the leader watches and tells, the others follow."""
