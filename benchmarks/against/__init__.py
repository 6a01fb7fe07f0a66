"""The chain of other commits beside this tree's, in pairs: what a change made slower."""
