"""How fast the chain is: ratios within one run, against bare mitmdump and against its peers."""
