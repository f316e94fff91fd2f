"""Lists of objects, positions and regions that groups upload and their filters look for."""
