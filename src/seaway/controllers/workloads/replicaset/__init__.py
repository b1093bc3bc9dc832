"""ReplicaSets and ReplicationControllers: as many Pods as were asked for."""
