"""Declaring graphs: nodes, edges, state, and what a node may answer."""
