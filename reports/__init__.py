"""Pages and charts of runs and searches; imports the packages below, none of them imports it."""
