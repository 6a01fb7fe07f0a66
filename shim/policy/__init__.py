"""The policy YAML: its types, how it is read, and which route a model name takes."""
