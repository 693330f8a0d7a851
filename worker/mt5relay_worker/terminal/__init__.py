"""The terminal process: the only place that holds a binding or an unsealed credential."""
