"""What to do next, in an order that destroys nothing."""
