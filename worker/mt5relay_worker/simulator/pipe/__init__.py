"""The second face of the simulator: the terminal's own named pipe, for the unmodified package."""
