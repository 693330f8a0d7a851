"""`mt5relay support-bundle`: what is needed to help, without anything that is nobody's business."""
