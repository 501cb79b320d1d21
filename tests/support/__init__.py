"""What tests share: made-up grids, a fake Hub, a recording control plane, child processes."""
