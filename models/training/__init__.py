"""Training of the shipped networks. Only this package imports torch; at run time nothing does."""
