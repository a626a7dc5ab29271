"""The commands of ``parfocal``, one file for each family; they load what they use when called."""
