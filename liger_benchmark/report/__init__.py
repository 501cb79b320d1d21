"""The report of an experiment: one page, Flyte's Decks, and a summary in the terminal."""
