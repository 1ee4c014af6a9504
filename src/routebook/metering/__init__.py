"""Events to usage to charge to record: accumulate, split into disjoint counts, price, explain. Pure."""
