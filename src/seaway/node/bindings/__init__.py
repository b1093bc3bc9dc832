"""Which addresses the programs of Pods listen on, where all Pods share the host's: the wrong ones are told."""
