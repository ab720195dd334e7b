"""Models of graphs, point clouds, voxel grids and meshes."""
