"""Both products from Python: what `mgcli` and `wan22` offer by name. It says nothing; it returns, yields, raises and logs."""
