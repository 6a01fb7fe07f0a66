"""Where a turn goes: choosing a model, whether its upstream can be reached, what lately failed."""
