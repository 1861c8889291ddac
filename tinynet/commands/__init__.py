"""What the commands of ``tinynet`` do; ``tinynet.cli`` reads their arguments."""
