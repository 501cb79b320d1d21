"""The page's JavaScript, a module for each thing that it does."""
