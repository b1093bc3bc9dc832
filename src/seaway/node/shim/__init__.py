"""The one process of a node that holds the Pods: their namespaces, their programs, and how those ended.

It outlives the agent, so it imports nothing but the standard library, and as little of that as it can.
"""
