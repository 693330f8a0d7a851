"""`mt5relay doctor`: facts are gathered at the edge, pure checks judge them."""
