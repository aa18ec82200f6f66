"""`worker doctor`: what stands around the work, checked: servers, rights, clocks, disks, other workers."""
