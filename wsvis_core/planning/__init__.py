"""What a run will cost, before it is paid: jobs, frames, disk and hours per stage."""
