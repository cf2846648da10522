"""One module for each revision; revisions are numbers that rise by one."""
