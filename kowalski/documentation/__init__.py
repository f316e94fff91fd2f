"""The documentation: what of it is made of the code, and how it becomes a site of plain files."""
