"""Graphs, point clouds, voxels and meshes."""
