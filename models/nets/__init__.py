"""The networks, in torch: training, export and reference; nothing at run time imports this."""
